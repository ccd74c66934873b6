/**
 * An emulation on loopback of the Redshift APIs that issue passwords. The SDKs use it because of AWS_ENDPOINT_URL_REDSHIFT and
 * AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS.
 */
import {
  startLoopback,
  type LoopbackAnswer,
  type LoopbackRequest,
} from '../issuers/loopback-server.js'
import { signerOf, type Signer } from './signed-request.js'

export interface PasswordRequest {
  readonly operation: string
  readonly signer: Signer | undefined
  /** The parameters with the API's names; numbers are text. */
  readonly parameters: Readonly<Record<string, string>>
  /** Resolves when the response was sent, or the client has disconnected. */
  readonly over: Promise<void>
  /** Resolves when the client has closed the connection. */
  disconnected(): Promise<void>
}

/** Undefined fields are not sent. */
export interface GivenPassword {
  readonly user?: string
  readonly password?: string
  readonly expiration?: Date
}

export interface ApiError {
  readonly status: number
  readonly code: string
}

export interface RedshiftApi {
  /** The environment variables for the SDK. */
  readonly env: Readonly<Record<string, string>>
  readonly requests: readonly PasswordRequest[]
  /** The last password of a user, for checks by a database. */
  passwordOf(user: string): string | undefined
  close(): Promise<void>
}

/** Starts it. `answer` returns the user and the password, or an error; or a promise, to delay the response. */
export async function startRedshiftApi(
  answer: (
    request: PasswordRequest,
    count: number,
  ) => GivenPassword | ApiError | Promise<GivenPassword | ApiError>,
): Promise<RedshiftApi> {
  const requests: PasswordRequest[] = []
  const passwords = new Map<string, string>()
  const { url, close } = await startLoopback(async (request) => {
    const api = isServerless(request) ? SERVERLESS : PROVISIONED
    const received = {
      ...api.read(request),
      over: request.over,
      disconnected: request.disconnected,
    }
    requests.push(received)
    const given = await answer(received, requests.length)
    if ('code' in given) return api.error(given)
    if (given.user !== undefined && given.password !== undefined)
      passwords.set(given.user, given.password)
    return api.password(given, received.operation)
  })
  return {
    env: { AWS_ENDPOINT_URL_REDSHIFT: url, AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS: url },
    requests,
    passwordOf: (user) => passwords.get(user),
    close,
  }
}

interface Api {
  read(request: LoopbackRequest): Omit<PasswordRequest, 'over' | 'disconnected'>
  password(given: GivenPassword, operation: string): LoopbackAnswer
  error(error: ApiError): LoopbackAnswer
}

const isServerless = ({ headers }: LoopbackRequest): boolean =>
  String(headers['x-amz-target'] ?? '').startsWith('RedshiftServerless.')

const SERVERLESS: Api = {
  read: (request) => ({
    operation: String(request.headers['x-amz-target']).replace('RedshiftServerless.', ''),
    signer: signerOf(request),
    parameters: Object.fromEntries(
      Object.entries(JSON.parse(request.body) as object).map(([name, value]) => [
        name,
        String(value),
      ]),
    ),
  }),
  password: ({ user, password, expiration }) =>
    json(200, {
      dbUser: user,
      dbPassword: password,
      ...(expiration === undefined ? {} : { expiration: expiration.getTime() / 1_000 }),
    }),
  error: ({ status, code }) => json(status, { __type: code, message: 'refused by the stand-in' }),
}

const PROVISIONED: Api = {
  read: (request) => ({
    operation: request.form.get('Action') ?? '',
    signer: signerOf(request),
    parameters: Object.fromEntries(request.form),
  }),
  password: ({ user, password, expiration }, operation) => {
    const result =
      element('DbUser', user) +
      element('DbPassword', password) +
      element('Expiration', expiration?.toISOString())
    return xml(200, `${operation}Response`, [`${operation}Result`, result])
  },
  error: ({ status, code }) =>
    xml(status, 'ErrorResponse', [
      'Error',
      element('Type', 'Sender') + element('Code', code) + element('Message', 'refused'),
    ]),
}

function json(status: number, body: object): LoopbackAnswer {
  return { status, headers: { 'content-type': 'application/x-amz-json-1.1' }, body }
}

function xml(status: number, root: string, [inner, content]: [string, string]): LoopbackAnswer {
  const body = `<${root} xmlns="http://redshift.amazonaws.com/doc/2012-12-01/"><${inner}>${content}</${inner}></${root}>`
  return { status, headers: { 'content-type': 'text/xml' }, body }
}

function element(name: string, text: string | undefined): string {
  return text === undefined ? '' : `<${name}>${text}</${name}>`
}

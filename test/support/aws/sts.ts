/** An emulation of AWS STS on loopback, which the SDK uses because of AWS_ENDPOINT_URL_STS. */
import { startLoopback, type LoopbackAnswer } from '../issuers/loopback-server.js'
import { signerOf, type Signer } from './signed-request.js'

export interface StsRequest {
  /** The access key that signed it; web identity requests are unsigned. */
  readonly signer: Signer | undefined
  readonly parameters: Readonly<Record<string, string>>
}

export interface RoleCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
  readonly expiration: Date
}

/** An STS error by its code, with its HTTP status. */
export interface StsError {
  readonly status: number
  readonly code: string
}

export interface StsStandIn {
  readonly url: string
  readonly requests: readonly StsRequest[]
  close(): Promise<void>
}

/** Starts it. `answer` returns the credentials of a role, or an error: its code, with the status 403, or both. */
export async function startSts(
  answer: (request: StsRequest, count: number) => RoleCredentials | StsError | string,
): Promise<StsStandIn> {
  const requests: StsRequest[] = []
  const { url, close } = await startLoopback((request) => {
    const received = { signer: signerOf(request), parameters: Object.fromEntries(request.form) }
    requests.push(received)
    const given = answer(received, requests.length)
    if (typeof given === 'string') return errorXml({ status: 403, code: given })
    return 'code' in given
      ? errorXml(given)
      : credentialsXml(received.parameters['Action'] ?? '', given)
  })
  return { url, requests, close }
}

function credentialsXml(
  action: string,
  { accessKeyId, secretAccessKey, sessionToken, expiration }: RoleCredentials,
): LoopbackAnswer {
  return xml(
    200,
    `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials>
    <AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey>
    <SessionToken>${sessionToken}</SessionToken><Expiration>${expiration.toISOString()}</Expiration>
  </Credentials></${action}Result></${action}Response>`,
  )
}

function errorXml({ status, code }: StsError): LoopbackAnswer {
  return xml(
    status,
    `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code>
    <Message>refused by the stand-in</Message></Error></ErrorResponse>`,
  )
}

function xml(status: number, body: string): LoopbackAnswer {
  return { status, headers: { 'content-type': 'text/xml' }, body }
}

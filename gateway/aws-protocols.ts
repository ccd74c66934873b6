/** The two protocols of AWS's APIs that the gateway speaks: Query (forms and XML), and JSON 1.1. */
import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** A call of an operation, parsed but not authenticated. */
export interface ApiCall {
  readonly protocol: Protocol
  /** The service's name in signatures. */
  readonly service: string
  readonly operation: string
  /** By their names in the API. Numbers and booleans are text. */
  readonly parameters: ReadonlyMap<string, string>
}

/** The fields of a result. */
export interface Fields {
  readonly [name: string]: string | Date | Fields
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface Protocol {
  result(call: ApiCall, fields: Fields): ApiAnswer
  error(error: ApiError): ApiAnswer
}

/** An error for the client. Neither its message nor its explanation contains a token, a secret or a signature. */
export class ApiError extends Error {
  readonly code: ErrorCode
  /** One sentence for the gateway's log. Default: the message. */
  readonly explanation: string

  constructor(code: ErrorCode, message: string, explanation: string = message) {
    super(message)
    this.code = code
    this.explanation = explanation
  }
}

/**
 * The errors by their codes in the Query protocol, with their HTTP status, and the codes in the JSON protocol. See
 * https://docs.aws.amazon.com/redshift/latest/APIReference/CommonErrors.html,
 * https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/CommonErrors.html and
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
 */
const ERRORS = {
  AccessDenied: [403, 'AccessDeniedException'],
  ClusterNotFound: [404, 'ResourceNotFoundException'],
  ExpiredToken: [403, 'ExpiredTokenException'],
  ExpiredTokenException: [400, 'ExpiredTokenException'],
  IDPCommunicationError: [400, 'IDPCommunicationError'],
  IDPRejectedClaim: [403, 'IDPRejectedClaim'],
  IncompleteSignature: [400, 'IncompleteSignatureException'],
  InternalFailure: [500, 'InternalServerException'],
  InvalidAction: [400, 'UnknownOperationException'],
  InvalidClientTokenId: [403, 'UnrecognizedClientException'],
  InvalidIdentityToken: [400, 'InvalidIdentityToken'],
  InvalidParameterValue: [400, 'ValidationException'],
  MalformedInput: [400, 'SerializationException'],
  MissingAuthenticationToken: [403, 'MissingAuthenticationTokenException'],
  MissingParameter: [400, 'ValidationException'],
  RequestEntityTooLarge: [413, 'RequestEntityTooLarge'],
  RequestExpired: [400, 'InvalidSignatureException'],
  SignatureDoesNotMatch: [403, 'InvalidSignatureException'],
  Throttling: [400, 'ThrottlingException'],
  ValidationError: [400, 'ValidationException'],
} as const

type ErrorCode = keyof typeof ERRORS

/** The protocol that a request speaks, even if it is otherwise invalid. */
export function protocolOf(headers: IncomingHttpHeaders): Protocol {
  return headers['x-amz-target'] === undefined ? QUERY : JSON_1_1
}

/** Throws an `ApiError` if the request is not a call of a known service. */
export function parseCall(headers: IncomingHttpHeaders, body: Buffer): ApiCall {
  const target = headers['x-amz-target']
  return target === undefined
    ? parseQueryCall(headers, body.toString())
    : parseJsonCall(String(target), headers, body.toString())
}

function contentType(headers: IncomingHttpHeaders): string {
  return (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase()
}

// The Query protocol: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html

/** The services by the version of their API, each with its XML namespace. */
const QUERY_SERVICES: Readonly<Record<string, { service: string; namespace: string }>> = {
  '2011-06-15': { service: 'sts', namespace: 'https://sts.amazonaws.com/doc/2011-06-15/' },
  '2012-12-01': { service: 'redshift', namespace: 'http://redshift.amazonaws.com/doc/2012-12-01/' },
}

function parseQueryCall(headers: IncomingHttpHeaders, body: string): ApiCall {
  if (contentType(headers) !== 'application/x-www-form-urlencoded')
    throw new ApiError('MalformedInput', 'The body must be a form')
  const parameters = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(body)) {
    if (parameters.has(name))
      throw new ApiError('MalformedInput', 'The form has a duplicate parameter')
    parameters.set(name, value)
  }
  const version = parameters.get('Version') ?? ''
  if (!Object.hasOwn(QUERY_SERVICES, version))
    throw new ApiError('InvalidAction', 'The version of the API is unknown')
  const { service } = QUERY_SERVICES[version]!
  return { protocol: QUERY, service, operation: parameters.get('Action') ?? '', parameters }
}

const QUERY: Protocol = {
  result({ operation, service }, fields) {
    const [{ namespace } = { namespace: '' }] = Object.values(QUERY_SERVICES).filter(
      (each) => each.service === service,
    )
    const result = element(`${operation}Result`, elements(fields))
    const metadata = element('ResponseMetadata', element('RequestId', randomUUID()))
    return xml(
      200,
      `<${operation}Response xmlns="${namespace}">${result}${metadata}</${operation}Response>`,
    )
  },
  error({ code, message }) {
    const [status] = ERRORS[code]
    const type = status < 500 ? 'Sender' : 'Receiver'
    const error = element('Error', elements({ Type: type, Code: code, Message: message }))
    return xml(status, element('ErrorResponse', error + element('RequestId', randomUUID())))
  },
}

function xml(status: number, body: string): ApiAnswer {
  return { status, headers: { 'content-type': 'text/xml' }, body }
}

function elements(fields: Fields): string {
  return Object.entries(fields)
    .map(([name, value]) => element(name, contentOf(value)))
    .join('')
}

function element(name: string, content: string): string {
  return `<${name}>${content}</${name}>`
}

function contentOf(value: Fields[string]): string {
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'string' ? escapeXml(value) : elements(value)
}

function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}

// JSON 1.1: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html

function parseJsonCall(target: string, headers: IncomingHttpHeaders, body: string): ApiCall {
  if (contentType(headers) !== 'application/x-amz-json-1.1')
    throw new ApiError('MalformedInput', 'The body must be application/x-amz-json-1.1')
  const [service, operation = ''] = target.split('.')
  if (service !== 'RedshiftServerless')
    throw new ApiError('InvalidAction', 'The service in the header "X-Amz-Target" is unknown')
  return {
    protocol: JSON_1_1,
    service: 'redshift-serverless',
    operation,
    parameters: parametersIn(body),
  }
}

function parametersIn(body: string): ReadonlyMap<string, string> {
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    // The error would quote the body.
    throw new ApiError('MalformedInput', 'The body is not JSON')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new ApiError('MalformedInput', 'The body must be a JSON object')
  const given = Object.entries(parsed).filter(([, value]) => value !== null)
  if (!given.every(([, value]) => ['string', 'number', 'boolean'].includes(typeof value)))
    throw new ApiError('MalformedInput', 'The parameters must be strings, numbers or booleans')
  return new Map(given.map(([name, value]) => [name, String(value)]))
}

const JSON_1_1: Protocol = {
  result: (_call, fields) => json(200, fields),
  error({ code, message }) {
    const [status, name] = ERRORS[code]
    // The protocol has one status for all errors of clients, but a proxy or a server may send others.
    const own = status < 500 && status !== 413 ? 400 : status
    return json(own, { __type: name, message })
  },
}

function json(status: number, fields: Fields): ApiAnswer {
  const body = JSON.stringify(fields, function (this: Fields, name, value: unknown) {
    // `JSON.stringify` has already converted the date. The protocol has seconds.
    const original = this[name]
    return original instanceof Date ? original.getTime() / 1_000 : value
  })
  return { status, headers: { 'content-type': 'application/x-amz-json-1.1' }, body }
}

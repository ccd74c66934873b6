/**
 * The emulated AWS APIs: those of Redshift, which issue passwords, and AWS STS, which issues credentials for ID tokens.
 * It listens on this machine only, because it has no TLS.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../core/events.js'
import { describeValue, withoutUndefined } from '../core/options/check.js'
import {
  nameInArn,
  type Principal,
  type Principals,
  randomAccessKey,
  randomSessionToken,
} from './auth/aws.js'
import type { TokenFault } from './auth/presigned.js'
import type { RedshiftPasswords, RedshiftTarget } from './auth/redshift-passwords.js'
import {
  checkSignedRequest,
  type RequestSigner,
  type SignedRequest,
} from './auth/signed-request.js'
import type { WebIdentity } from './auth/web-identity.js'
import {
  type ApiAnswer,
  type ApiCall,
  ApiError,
  type Fields,
  parseCall,
  protocolOf,
} from './aws-protocols.js'

interface AwsApiSettings {
  /** The principals of all endpoints. */
  readonly stores: readonly Principals[]
  /** The passwords of the Redshift endpoints. */
  readonly redshift: readonly RedshiftPasswords[]
  /** `undefined`: no role can be assumed. */
  readonly webIdentity: WebIdentity | undefined
  /** Epoch milliseconds. */
  readonly clock: () => number
  readonly logger: Logger
  /** How long a client may take for its request, in milliseconds. */
  readonly requestTimeoutMs: number
}

export interface AwsApi {
  /** Without a trailing slash. */
  readonly url: string
  close(): Promise<void>
}

/** Rejects with Node's error if listening fails. */
export async function startAwsApi(settings: AwsApiSettings): Promise<AwsApi> {
  const { requestTimeoutMs, logger } = settings
  // Loaded on use: most gateways have no API.
  const { createServer } = await import('node:http')
  const server = createServer(
    {
      requestTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(requestTimeoutMs, 1_000),
    },
    listener(settings),
  )
  server.maxConnections = MAX_CONNECTIONS
  server.on('clientError', (_error, socket) => {
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    else socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  server.on('error', (error) => logger.error('gateway: the API failed', { error }))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, close: () => closeServer(server) }
}

const MAX_CONNECTIONS = 1_000

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

// Requests and their answers.

function listener(settings: AwsApiSettings): RequestListener {
  const { clock, logger } = settings
  return (request, response) => {
    answerTo(request, settings)
      .catch((error: unknown) => {
        if (error instanceof ApiError) return refusal(error, request, logger)
        // The client has gone, or something unforeseen has happened.
        if (!request.complete) return undefined
        logger.error('gateway: the API failed', { error })
        return protocolOf(request.headers).error(
          new ApiError('InternalFailure', 'The request could not be processed'),
        )
      })
      .then((answer) => {
        if (answer === undefined) response.destroy()
        else send(response, answer, clock())
      })
      .catch((error: unknown) => {
        logger.error('gateway: the API failed', { error })
        response.destroy()
      })
  }
}

async function answerTo(request: IncomingMessage, settings: AwsApiSettings): Promise<ApiAnswer> {
  const body = await bodyOf(request)
  if (body === undefined)
    throw new ApiError(
      'RequestEntityTooLarge',
      `The body must have at most ${MAX_BODY_BYTES} bytes`,
    )
  if (request.method !== 'POST' || request.url !== '/')
    throw new ApiError('InvalidAction', 'The request must be a POST of "/"')
  const { headers } = request
  const call = parseCall(headers, body)
  const operation = Object.hasOwn(OPERATIONS, call.service)
    ? OPERATIONS[call.service]!.get(call.operation)
    : undefined
  if (operation === undefined)
    throw new ApiError('InvalidAction', `Could not find operation ${describeValue(call.operation)}`)
  const signer = operation.isUnsigned ? undefined : signerOf({ headers, body }, call, settings)
  const fields = await operation.run(call, settings, signer as RequestSigner)
  return call.protocol.result(call, fields)
}

function refusal(error: ApiError, { headers }: IncomingMessage, logger: Logger): ApiAnswer {
  logger.warn('gateway: refused a request to the API', {
    code: error.code,
    explanation: error.explanation,
  })
  return protocolOf(headers).error(error)
}

function send(response: ServerResponse, answer: ApiAnswer, now: number): void {
  // The SDKs correct their clock by this date if a signature has expired.
  const date = new Date(now).toUTCString()
  response.writeHead(answer.status, { ...answer.headers, date, 'cache-control': 'no-store' })
  response.end(answer.body)
}

/** An ID token has at most 20,000 characters. */
const MAX_BODY_BYTES = 65_536
/** A client that sends more is cut off before it gets an answer. */
const MAX_DISCARDED_BYTES = 1_048_576

/** Reads the body, or returns `undefined` if it is too large. The rest is discarded, because a client reads no answer before it has sent all. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_BODY_BYTES) chunks.push(chunk)
    else chunks.length = 0
    if (size > MAX_DISCARDED_BYTES) request.destroy()
  }
  return size > MAX_BODY_BYTES ? undefined : Buffer.concat(chunks)
}

// Who has signed a request.

function signerOf(
  request: SignedRequest,
  { service }: ApiCall,
  { stores, clock }: AwsApiSettings,
): RequestSigner {
  const signer = checkSignedRequest(request, stores, clock())
  if ('fault' in signer) throw signatureError(signer)
  if (signer.scope.service !== service)
    throw new ApiError(
      'SignatureDoesNotMatch',
      `Credential should be scoped to correct service: '${service}'.`,
    )
  return signer
}

/** The errors of AWS, which do not tell all faults apart. */
function signatureError({ fault, explanation }: TokenFault): ApiError {
  switch (fault) {
    case 'token-missing':
      return new ApiError('MissingAuthenticationToken', 'Missing Authentication Token', explanation)
    case 'token-malformed':
      return new ApiError('IncompleteSignature', `The signature is malformed: ${explanation}`)
    case 'access-key-unknown':
    case 'access-key-revoked':
    case 'session-token-missing':
    case 'session-token-unexpected':
    case 'session-token-wrong':
      return new ApiError(
        'InvalidClientTokenId',
        'The security token included in the request is invalid.',
        explanation,
      )
    case 'credentials-expired':
      return new ApiError(
        'ExpiredToken',
        'The security token included in the request is expired',
        explanation,
      )
    case 'token-expired':
    case 'token-from-future':
      return new ApiError('RequestExpired', explanation)
    default:
      return new ApiError(
        'SignatureDoesNotMatch',
        'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
        explanation,
      )
  }
}

// The parameters of a call.

/** Reads the parameters. Throws the error of the service for one that is missing or invalid. */
class Parameters {
  readonly #call: ApiCall

  constructor(call: ApiCall) {
    this.#call = call
  }

  optional(name: string, pattern: RegExp): string | undefined {
    const value = this.#call.parameters.get(name)
    if (value !== undefined && !pattern.test(value)) throw this.invalid(name)
    return value
  }

  required(name: string, pattern: RegExp): string {
    const value = this.optional(name, pattern)
    if (value === undefined)
      throw new ApiError(
        this.#call.service === 'sts' ? 'ValidationError' : 'MissingParameter',
        `The request must contain the parameter ${name}`,
      )
    return value
  }

  seconds(name: string, least: number, most: number, otherwise: number): number {
    const seconds = Number(this.optional(name, /^\d{1,9}$/) ?? otherwise)
    if (seconds >= least && seconds <= most) return seconds
    throw this.invalid(name, `It must be from ${least} to ${most}.`)
  }

  /** Does not show the value, which may be a token. */
  invalid(name: string, rule = ''): ApiError {
    const code = this.#call.service === 'sts' ? 'ValidationError' : 'InvalidParameterValue'
    return new ApiError(code, `The parameter ${name} is not valid. ${rule}`.trim())
  }
}

// The operations by service.

interface Operation {
  readonly isUnsigned?: true
  /** @param signer undefined for an unsigned operation */
  run(call: ApiCall, settings: AwsApiSettings, signer: RequestSigner): Fields | Promise<Fields>
}

const OPERATIONS: Readonly<Record<string, ReadonlyMap<string, Operation>>> = {
  redshift: new Map<string, Operation>([
    ['GetClusterCredentialsWithIAM', { run: clusterPassword }],
    ['GetClusterCredentials', { run: chosenUserPassword }],
  ]),
  'redshift-serverless': new Map<string, Operation>([
    ['GetCredentials', { run: workgroupPassword }],
  ]),
  sts: new Map<string, Operation>([
    ['AssumeRoleWithWebIdentity', { isUnsigned: true, run: assumeRole }],
    ['GetCallerIdentity', { run: callerIdentity }],
  ]),
}

// Redshift: passwords.

const IDENTIFIER = /^[a-z0-9][a-z0-9-]{0,63}$/
const DOMAIN = /^[a-z0-9.-]{1,253}$/i
const DATABASE = /^[a-z_][\w+.@$-]{0,63}$/i
const USER = /^[a-z][\w+.@-]{0,63}$/i
const GROUP = /^[a-z][a-z0-9_+.@-]{0,63}$/

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentialsWithIAM.html */
function clusterPassword(call: ApiCall, settings: AwsApiSettings, signer: RequestSigner): Fields {
  const given = new Parameters(call)
  const { password, expiresAt, user } = issuePassword(call, settings, signer, {
    kind: 'cluster',
    name: given.optional('ClusterIdentifier', IDENTIFIER),
    customDomain: given.optional('CustomDomainName', DOMAIN),
    database: given.optional('DbName', DATABASE),
    durationSecs: given.seconds('DurationSeconds', 900, 3_600, 900),
    user: roleUser,
  })
  return {
    DbUser: user,
    DbPassword: password,
    Expiration: new Date(expiresAt),
    NextRefreshTime: new Date(expiresAt),
  }
}

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentials.html */
function chosenUserPassword(
  call: ApiCall,
  settings: AwsApiSettings,
  signer: RequestSigner,
): Fields {
  const given = new Parameters(call)
  const prefix = given.optional('AutoCreate', /^(true|false)$/) === 'true' ? 'IAMA' : 'IAM'
  const chosen = `${prefix}:${given.required('DbUser', USER)}`
  // They are checked, but the database has no groups that last for a session.
  for (const name of call.parameters.keys())
    if (name.startsWith('DbGroups.')) given.optional(name, GROUP)
  const { password, expiresAt, user } = issuePassword(call, settings, signer, {
    kind: 'cluster',
    name: given.optional('ClusterIdentifier', IDENTIFIER),
    customDomain: given.optional('CustomDomainName', DOMAIN),
    database: given.optional('DbName', DATABASE),
    durationSecs: given.seconds('DurationSeconds', 900, 3_600, 900),
    user: ({ roles }) => (roles.has(chosen) ? chosen : undefined),
  })
  return { DbUser: user, DbPassword: password, Expiration: new Date(expiresAt) }
}

/** See https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/API_GetCredentials.html */
function workgroupPassword(call: ApiCall, settings: AwsApiSettings, signer: RequestSigner): Fields {
  const given = new Parameters(call)
  const { password, expiresAt, user } = issuePassword(call, settings, signer, {
    kind: 'workgroup',
    name: given.optional('workgroupName', IDENTIFIER),
    customDomain: given.optional('customDomainName', DOMAIN),
    database: given.optional('dbName', DATABASE),
    durationSecs: given.seconds('durationSeconds', 900, 3_600, 900),
    user: roleUser,
  })
  return {
    dbUser: user,
    dbPassword: password,
    expiration: new Date(expiresAt),
    nextRefreshTime: new Date(expiresAt),
  }
}

/** The database user of the role itself. */
function roleUser({ roles }: Principal): string | undefined {
  return [...roles].find((role) => role.startsWith('IAMR:'))
}

interface WantedPassword extends Omit<RedshiftTarget, 'region'> {
  readonly database: string | undefined
  readonly durationSecs: number
  /** The user that the principal gets, or `undefined` if it may not have it. */
  readonly user: (principal: Principal) => string | undefined
}

function issuePassword(
  call: ApiCall,
  { redshift, logger }: AwsApiSettings,
  { scope, principals }: RequestSigner,
  wanted: WantedPassword,
): { password: string; expiresAt: number; user: string } {
  const { kind, name, database, durationSecs } = wanted
  const customDomain = wanted.customDomain?.toLowerCase()
  if ((name === undefined) === (customDomain === undefined))
    throw new ApiError(
      'InvalidParameterValue',
      `The request must name a ${kind}, or its custom domain`,
    )
  const { region } = scope
  const [caller] = principals
  // A principal has a password only from an endpoint that it is a user of.
  const ownIn = ({ principals: store }: RedshiftPasswords): Principal | undefined =>
    principals.find((each) => store.find(each.accessKeyId) === each)
  const found = redshift.flatMap((passwords) => {
    const host = passwords.hostOf({ kind, region, name, customDomain })
    return host === undefined ? [] : [{ passwords, host, principal: ownIn(passwords) }]
  })
  const own = found.find(({ principal }) => principal !== undefined)
  const user = own?.principal && wanted.user(own.principal)
  if (own !== undefined && user !== undefined) {
    const { passwords, host } = own
    const { accessKeyId } = caller
    const issued = passwords.issue({ user, database, host, accessKeyId, durationSecs })
    if (issued === undefined) throw new ApiError('Throttling', 'Rate exceeded')
    logger.info('gateway: issued a password', {
      ...{ identity: accessKeyId, user, host, operation: call.operation },
      ...withoutUndefined({ database }),
      expiresAt: new Date(issued.expiresAt),
    })
    return { ...issued, user }
  }
  // Who may not ask does not learn what exists.
  if (found.length === 0 && redshift.some((each) => ownIn(each) !== undefined))
    throw new ApiError(
      'ClusterNotFound',
      `The ${kind} ${describeValue(name ?? customDomain)} does not exist in the region ${describeValue(region)}.`,
    )
  throw new ApiError(
    'AccessDenied',
    `User: ${arnOf(caller)} is not authorized to perform: ${call.service}:${call.operation}`,
  )
}

// STS: credentials for ID tokens, and the identity of credentials.

const ROLE_ARN = /^arn:[\w-]+:iam::\d{12}:role\/[\u0021-\u007e]{1,2000}$/
const SESSION_NAME = /^[\w+=,.@-]{2,64}$/
const ID_TOKEN = /^[\u0021-\u007e]{4,20000}$/

/** See https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html */
async function assumeRole(
  call: ApiCall,
  { stores, webIdentity, clock, logger }: AwsApiSettings,
): Promise<Fields> {
  const given = new Parameters(call)
  const arn = given.required('RoleArn', ROLE_ARN)
  const sessionName = given.required('RoleSessionName', SESSION_NAME)
  const token = given.required('WebIdentityToken', ID_TOKEN)
  const durationSecs = given.seconds('DurationSeconds', 900, 43_200, 3_600)
  for (const name of call.parameters.keys())
    if (/^(Policy|PolicyArns\..*|ProviderId)$/.test(name))
      // To ignore a policy would give more rights than were asked for.
      throw given.invalid(name, 'The gateway does not support it.')
  if (webIdentity === undefined)
    throw new ApiError(
      'InvalidIdentityToken',
      'No OpenIDConnect provider found in your account for the issuer of the token',
    )
  const checked = await webIdentity.verify(token)
  if ('code' in checked) throw new ApiError(checked.code, checked.explanation)
  const { subject } = checked
  // A role may be a principal of several endpoints. The credentials are for all of them.
  const granting = stores.flatMap((store) => {
    const roles = store.assumable(arn, subject)
    return roles === undefined ? [] : [{ store, roles }]
  })
  if (granting.length === 0)
    throw new ApiError(
      'AccessDenied',
      'Not authorized to perform sts:AssumeRoleWithWebIdentity',
      'no principal has both this role as "arn" and the subject of the token as "subject"',
    )
  const now = clock()
  const expiresAt = Math.floor(now / 1_000 + durationSecs) * 1_000
  const keys = { ...randomAccessKey('ASIA'), sessionToken: randomSessionToken() }
  for (const { store, roles } of granting) {
    store.forgetExpired(now - REMEMBERED_MS)
    store.add({ ...keys, roles, arn, sessionName }, expiresAt)
  }
  logger.info('gateway: issued credentials for an ID token', {
    ...{ identity: keys.accessKeyId, role: arn, sessionName, subject },
    expiresAt: new Date(expiresAt),
  })
  return {
    SubjectFromWebIdentityToken: subject,
    Audience: webIdentity.audience,
    Provider: webIdentity.issuer,
    AssumedRoleUser: {
      Arn: sessionArn(arn, sessionName),
      AssumedRoleId: sessionId(arn, sessionName),
    },
    Credentials: {
      AccessKeyId: keys.accessKeyId,
      SecretAccessKey: keys.secretAccessKey,
      SessionToken: keys.sessionToken,
      Expiration: new Date(expiresAt),
    },
  }
}

/** How long expired credentials are remembered, so that the error can say that they have expired. */
const REMEMBERED_MS = 86_400_000

/** See https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html */
function callerIdentity(
  _call: ApiCall,
  _settings: AwsApiSettings,
  { principals: [caller] }: RequestSigner,
): Fields {
  const { arn = NOBODY, sessionName = 'gateway' } = caller
  return {
    Arn: arnOf(caller),
    UserId: isRole(arn) ? sessionId(arn, sessionName) : identifier('AIDA', arn),
    Account: arn.split(':')[4] ?? '',
  }
}

/** The user of an access key without an ARN. */
const NOBODY = 'arn:aws:iam::000000000000:user/gateway'

/** The ARN of who has signed. A role always signs as one of its sessions. */
function arnOf({ arn = NOBODY, sessionName = 'gateway' }: Principal): string {
  return isRole(arn) ? sessionArn(arn, sessionName) : arn
}

function isRole(arn: string): boolean {
  return arn.includes(':role/')
}

/** It has the name of the role without its path. */
function sessionArn(roleArn: string, sessionName: string): string {
  const [, partition = '', , , account = ''] = roleArn.split(':')
  return `arn:${partition}:sts::${account}:assumed-role/${nameInArn(roleArn)}/${sessionName}`
}

function sessionId(roleArn: string, sessionName: string): string {
  return `${identifier('AROA', roleArn)}:${sessionName}`
}

/** A unique identifier of IAM. It is always the same for an ARN. */
function identifier(prefix: 'AROA' | 'AIDA', arn: string): string {
  const digest = createHash('sha256').update(arn).digest('hex')
  return `${prefix}${digest.slice(0, 17).toUpperCase()}`
}

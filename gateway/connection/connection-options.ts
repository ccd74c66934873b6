/** The options of `handleConnection`: types, validation and defaults. */
import { type PeerCertificate, TLSSocket } from 'node:tls'
import { PgIamError } from '../../core/errors.js'
import { logger, type Logger, SILENT } from '../../core/events.js'
import {
  boolean,
  type Check,
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  isPlainObject,
  isText,
  text,
} from '../../core/options/check.js'
import type { ProviderErrors, RefusalReason } from '../auth/refusal.js'
import type { SessionRewriter, SessionRules } from './session-rewriter.js'
import type { LoginMethod } from '../auth/verifier.js'
import type { Engine } from '../engines/engine.js'
import { createLimits, type Limits } from './limits.js'
import {
  type TlsCredentials,
  type TlsLookup,
  tlsOption,
  type TlsUpgrader,
  tlsUpgrader,
} from './tls.js'

/** What is known about a connection. It is kept up to date. */
export interface ConnectionState {
  /**
   * `startup`: up to the startup packet; `authentication`: up to the session; `session`; then `closed`, or `detached` after `detach()`.
   */
  readonly phase: 'startup' | 'authentication' | 'session' | 'detached' | 'closed'
  /** `undefined` without TLS, or before its handshake. */
  readonly tls: ConnectionTls | undefined
  /** `undefined` before the startup packet. */
  readonly startup: ConnectionStartup | undefined
  /** Whether the client has proved who it is. */
  readonly authenticated: boolean
  /** The authenticated identity, such as the user or an access key ID; `undefined` before. */
  readonly identity: string | undefined
  /** `undefined` before the session. */
  readonly session: { readonly processId: number } | undefined
  /** The client's IP address. `undefined` for streams that have none. */
  readonly remoteAddress: string | undefined
}

export interface ConnectionTls {
  /** The server name (SNI) that the client sent. */
  readonly serverName: string | undefined
  /** Whether the client started TLS at once, or after an SSLRequest. */
  readonly negotiation: 'direct' | 'postgres'
  /** The protocol that was agreed on (ALPN), such as `postgresql`, or `undefined` if the client offered none. */
  readonly alpn: string | undefined
  /** Whether the client has a certificate of an authority in `tls.ca`. */
  readonly authorized: boolean
  /** The client's certificate. */
  readonly peerCertificate: PeerCertificate | undefined
}

export interface ConnectionStartup {
  readonly user: string
  /** PostgreSQL's default is the name of the user. */
  readonly database: string
  /** All other parameters, such as `application_name`. */
  readonly parameters: ReadonlyMap<string, string>
  /** The version that the client requests, such as `3.0`. */
  readonly protocolVersion: string
}

/** How clients authenticate. */
export type AuthMethod = 'none' | 'cleartext' | 'md5' | 'scram-sha-256' | 'certificate'

/** An authentication of the gateway's, for the option `auth`: see `iamAuth`. */
export interface ConnectionAuth extends LoginMethod {
  /** The provider that it emulates, for the log. */
  readonly provider?: string
  /** The errors for clients that are refused for other reasons than their credentials. Default: PostgreSQL's. */
  readonly errors?: ProviderErrors
  /** Further limits of the sessions that log in with it. */
  readonly limits?: Limits
  /** Restrictions and defaults of the sessions that log in with it. */
  readonly rules?: SessionRules
}

/** The credentials of a client, by the method of authentication. */
export type ClientCredentials =
  | { readonly method: 'cleartext'; readonly user: string; readonly password: string }
  | {
      readonly method: 'md5' | 'scram-sha-256'
      readonly user: string
      /** The client does not send it. */
      readonly password?: undefined
    }
  | {
      readonly method: 'certificate'
      readonly user: string
      readonly certificate: PeerCertificate
      /** The first common name of its subject. */
      readonly commonName: string | undefined
      /** Whether it is signed by an authority in `tls.ca`, and valid today. */
      readonly authorized: boolean
      readonly password?: undefined
    }

/** Why a login is refused. */
export interface RefusedLogin {
  readonly reason: RefusalReason
  /** One sentence for a log. It contains no token and no password. */
  readonly explanation: string
  /** The error that the client gets. `undefined` if the connection is closed without one. */
  readonly error: { readonly sqlState: string; readonly message: string } | undefined
}

/** The key of a cancel request. */
export interface CancelRequest {
  readonly processId: number
  readonly secretKey: number
  /** Whether a session of this process has the key, and is asked to cancel its statement. */
  readonly isDelivered: boolean
}

type Awaitable<T> = T | PromiseLike<T>

/** The bytes that are sent to the client in place of an engine's answer: whole messages. */
export type HookReply = Uint8Array | AsyncIterable<Uint8Array> | undefined

export interface HandleConnectionOptions {
  /**
   * The database that serves the session, or a function that returns it. Default: none; every statement that `onMessage` does not answer
   * fails with SQLSTATE 0A000. Engines are not closed with the connection.
   */
  engine?: Engine | ((state: ConnectionState) => Awaitable<Engine>)
  /** The server's certificate, or a function of the server name (SNI). Default: none, so connections are not encrypted. */
  tls?: TlsCredentials | TlsLookup
  /** Whether logins without TLS are refused. Default: `true` with the option `tls`. */
  requireTls?: boolean
  /**
   * The TLS socket below the stream, for a stream within an encrypted protocol, such as that of a WebSocket. `state.tls` then has its state
   * from the start.
   */
  securedBy?: TLSSocket
  /**
   * Further protocols for clients that start TLS directly (ALPN), such as `http/1.1`. `onTlsUpgrade` must detach the connections of those that
   * negotiate another protocol than `postgresql`, or none: otherwise they are refused.
   */
  alpnProtocols?: readonly string[]
  /** Whether TLS clients are asked for a certificate. Default: `true` with `tls.ca` or `auth: 'certificate'`. */
  requestCertificate?: boolean
  /**
   * How clients authenticate, or a function that returns it. Default `none`. With `certificate`, TLS is required; without
   * `validateCredentials`, the certificate must be of an authority in `tls.ca`, and its common name the user.
   */
  auth?:
    | AuthMethod
    | ConnectionAuth
    | ((state: ConnectionState) => Awaitable<AuthMethod | ConnectionAuth>)
  /**
   * Returns the password of the user, also in PostgreSQL's stored form (`SCRAM-SHA-256$...`, `md5...`), or `undefined` for none. Required for
   * `md5` and `scram-sha-256`.
   */
  password?(state: ConnectionState): Awaitable<string | undefined>
  /** Decides whether credentials are accepted. Called after those of `password` were compared, if that is given. */
  validateCredentials?(credentials: ClientCredentials, state: ConnectionState): Awaitable<boolean>
  /** Returns the engine's role for the user. Default: the user. */
  role?(state: ConnectionState): Awaitable<string>
  /** The `server_version` that is sent to clients. Default: that of the engine. */
  serverVersion?: string
  /** Parameters to send to clients at the start of the session (ParameterStatus). They override those of the engine. */
  parameters?: Readonly<Record<string, string>>
  /** Called after the TLS handshake. */
  onTlsUpgrade?(state: ConnectionState): unknown
  /** Called after the startup packet. */
  onStartup?(state: ConnectionState): unknown
  /** Called after the client has authenticated, and before its session is opened. */
  onAuthenticated?(state: ConnectionState): unknown
  /** Called after the session is opened, and before the client is notified. An error refuses the login. */
  onSession?(state: ConnectionState): void
  /**
   * Called for each whole message of the client's, header included, also before the session. Returns the client's reply, or `undefined` to
   * let the message go on. Before the session only an error that it throws has an effect.
   */
  onMessage?(message: Uint8Array, state: ConnectionState): Awaitable<HookReply>
  /** Called for each whole message of the engine's. Returns the bytes to send in place of it, or `undefined` to send it. */
  onReply?(message: Uint8Array, state: ConnectionState): Awaitable<Uint8Array | undefined>
  /** Called before a login is refused. What it throws is only logged. */
  onRefused?(refused: RefusedLogin, state: ConnectionState): void
  /** Called when the client asks to cancel the session's statement. The engine is asked, too. What it throws is only logged. */
  onCancel?(state: ConnectionState): void
  /** Called for each cancel request, which has a separate connection. An error is only logged. */
  onCancelRequest?(request: CancelRequest): void
  /** Returns what rewrites the messages of the session. Called once for each session. */
  rewrite?(state: ConnectionState): SessionRewriter
  /** The time limit of the login, up to the session, in milliseconds, from 1 to 600,000. Default 10,000. */
  loginTimeoutMs?: number
  /** Limits that several connections share, from `createLimits()`. Default: one set of them for all connections of the process. */
  limits?: Limits
  /** Receives log messages. Default: no logging. */
  logger?: Logger
}

type Hooks = Pick<
  HandleConnectionOptions,
  | 'password'
  | 'validateCredentials'
  | 'role'
  | 'onTlsUpgrade'
  | 'onStartup'
  | 'onAuthenticated'
  | 'onSession'
  | 'onMessage'
  | 'onReply'
  | 'onRefused'
  | 'onCancel'
  | 'onCancelRequest'
  | 'rewrite'
>

/** The options as they are used. */
export interface ConnectionSettings extends Hooks {
  readonly engine: HandleConnectionOptions['engine']
  readonly auth: NonNullable<HandleConnectionOptions['auth']>
  readonly tls: TlsUpgrader | undefined
  readonly securedBy: TLSSocket | undefined
  /** Whether `onTlsUpgrade` may detach the connections of clients that do not speak PostgreSQL's protocol. */
  readonly servesOtherProtocols: boolean
  readonly requireTls: boolean
  /** The parameters that take precedence over the engine's. */
  readonly parameters: ReadonlyMap<string, string>
  readonly loginTimeoutMs: number
  readonly limits: Limits
  readonly logger: Logger
}

const METHODS: readonly unknown[] = ['none', 'cleartext', 'md5', 'scram-sha-256', 'certificate']

const authOption: Check<NonNullable<HandleConnectionOptions['auth']>> = (value, name) => {
  if (METHODS.includes(value) || isOwnAuth(value) || typeof value === 'function')
    return value as NonNullable<HandleConnectionOptions['auth']>
  const names = METHODS.map((method) => `"${String(method)}"`).join(', ')
  throw invalidOption(name, `${names}, iamAuth(...) or a function that returns one of them`, value)
}

const engineOption: Check<NonNullable<HandleConnectionOptions['engine']>> = (value, name) => {
  if (typeof value === 'function' || isEngine(value))
    return value as NonNullable<HandleConnectionOptions['engine']>
  const isPromise = typeof (value as Partial<PromiseLike<unknown>> | null)?.then === 'function'
  throw invalidOption(
    name,
    `an engine with openSession(), or a function that returns one${isPromise ? ', and not a promise' : ''}`,
    value,
  )
}

export function isOwnAuth(value: unknown): value is ConnectionAuth {
  return typeof (value as Partial<ConnectionAuth> | null | undefined)?.authenticate === 'function'
}

export function isEngine(value: unknown): value is Engine {
  return typeof (value as Partial<Engine> | null | undefined)?.openSession === 'function'
}

const parametersOption: Check<Readonly<Record<string, string>>> = (value, name) => {
  if (!isPlainObject(value)) throw invalidOption(name, 'an object of strings', value)
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, text(each, `${name}.${key}`)]),
  )
}

const tlsSocket: Check<TLSSocket> = (value, name) => {
  if (value instanceof TLSSocket) return value
  throw invalidOption(name, 'a tls.TLSSocket', value)
}

const protocolNames: Check<readonly string[]> = (value, name) => {
  const isName = (each: unknown): boolean =>
    isText(each) && Buffer.byteLength(each) <= 255 && each !== 'postgresql'
  if (Array.isArray(value) && value.every(isName)) return value as readonly string[]
  throw invalidOption(name, 'an array of ALPN protocols besides "postgresql"', value)
}

const limitsOption: Check<Limits> = (value, name) => {
  if (isPlainObject(value) && 'seats' in value && 'logins' in value)
    return value as unknown as Limits
  throw invalidOption(name, 'the result of createLimits()', value)
}

const hook = functionOf<(...args: never[]) => never>()

const CHECKS = {
  engine: engineOption,
  tls: tlsOption,
  requireTls: boolean,
  securedBy: tlsSocket,
  alpnProtocols: protocolNames,
  requestCertificate: boolean,
  auth: authOption,
  password: hook,
  validateCredentials: hook,
  role: hook,
  serverVersion: text,
  parameters: parametersOption,
  onTlsUpgrade: hook,
  onStartup: hook,
  onAuthenticated: hook,
  onSession: hook,
  onMessage: hook,
  onReply: hook,
  onRefused: hook,
  onCancel: hook,
  onCancelRequest: hook,
  rewrite: hook,
  loginTimeoutMs: integerWithin(1, 600_000, 'milliseconds'),
  limits: limitsOption,
  logger,
} as const

/** Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`, naming the option. */
export function connectionSettings(given: HandleConnectionOptions): ConnectionSettings {
  const options = checkOptions(given, CHECKS)
  const { auth = 'none', tls, requestCertificate, requireTls, serverVersion, parameters } = options
  if ((auth === 'md5' || auth === 'scram-sha-256') && options.password === undefined)
    throw missing('password', auth)
  if (auth === 'cleartext' && !options.password && !options.validateCredentials)
    throw missing('password" or "validateCredentials', auth)
  for (const name of ['password', 'validateCredentials'] as const)
    if (auth === 'none' && options[name] !== undefined)
      throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given without "auth"`, {
        hint: "It would not be called. Set auth: 'scram-sha-256', or another method.",
      })
  const { securedBy, alpnProtocols = [] } = options
  if (tls !== undefined && securedBy !== undefined)
    throw new PgIamError('ERR_OPTION_CONFLICT', '"tls" must not be given with "securedBy"')
  if (tls === undefined && alpnProtocols.length > 0)
    throw new PgIamError('ERR_OPTION_CONFLICT', '"tls" must be given with "alpnProtocols"')
  const hasTls = tls !== undefined || securedBy !== undefined
  if (!hasTls && (auth === 'certificate' || requireTls === true)) {
    const reason = auth === 'certificate' ? 'auth: "certificate"' : '"requireTls"'
    throw new PgIamError('ERR_OPTION_CONFLICT', `"tls" must be given with ${reason}`)
  }
  const asksForCertificate =
    requestCertificate ?? (auth === 'certificate' || (typeof tls === 'object' && 'ca' in tls))
  return {
    ...(options as Hooks),
    engine: options.engine,
    auth,
    tls: tls === undefined ? undefined : tlsUpgrader(tls, { asksForCertificate, alpnProtocols }),
    securedBy,
    servesOtherProtocols: alpnProtocols.length > 0,
    requireTls: requireTls ?? hasTls,
    parameters: new Map(
      Object.entries({
        ...(serverVersion === undefined ? {} : { server_version: serverVersion }),
        ...parameters,
      }),
    ),
    loginTimeoutMs: options.loginTimeoutMs ?? 10_000,
    limits: options.limits ?? (ownLimits ??= createLimits()),
    logger: options.logger ?? SILENT,
  }
}

function missing(option: string, auth: string): PgIamError {
  return new PgIamError('ERR_OPTION_INVALID', `"${option}" must be given with auth: "${auth}"`)
}

/** The limits of all connections for which none are given. */
let ownLimits: Limits | undefined

/** The login: everything needed to log in to one database. */
import type { Refusal } from './connection/authenticate.js'
import { type ConnectLimiter, createConnectLimiter } from './connection/connect-limiter.js'
import { createEndpointHealth, type EndpointHealth } from './connection/endpoint-health.js'
import type { Address, Endpoint, ResolvedEndpoint } from './connection/log-in.js'
import { createReporter, type Logger, type Report } from './events.js'
import { type Check, invalidOption, isPlainObject, type NonEmpty } from './options/check.js'
import type { StartupParameters } from './options/startup-parameters.js'
import type { CommonSettings } from './options/common-options.js'
import { type TlsNegotiation, verifiedTls, type VerifiedTls } from './tls.js'
import {
  type Clock,
  createTokenSource,
  type LoginStats,
  type Renewable,
  createTokenInvalidation,
} from './tokens/token-source.js'
import type { Token } from './tokens/token.js'
import type { RetryOptions } from './transactions/retry.js'

/** The supported providers. */
export type ProviderName = 'aurora-dsql' | 'rds' | 'redshift' | 'entra' | 'cloud-sql' | 'custom'

/**
 * Everything needed to log in to one database: address, user, TLS settings, and the source of tokens.
 *
 * Created by `auroraDsql()` and the other providers, and passed to an adapter. It is frozen and contains no secret.
 */
export interface Login {
  readonly provider: ProviderName
  /** The host that tokens are created for and that TLS is verified for; the first of several. */
  readonly host: string
  /** All hosts, if there are several. They are tried in order. */
  readonly hosts?: readonly string[]
  readonly port: number
  readonly database: string
  /** The database user; `undefined` until the first token, if the token names the user. */
  readonly user: string | undefined
  readonly region?: string
  /** The address to dial, if it differs from `host` and `port`. */
  readonly connectTo?: Address
  readonly tls: VerifiedTls
  readonly tlsNegotiation: TlsNegotiation
  /** Run-time parameters of each session, by lower-case name. Parameters given to the driver take precedence. */
  readonly startupParameters?: StartupParameters
  /** Whether TCP keepalive is on, or its idle time in seconds; `undefined` if the driver decides. */
  readonly keepAlive?: boolean | number
  /** The age, in seconds, at which pools replace a connection; `undefined` for no limit. */
  readonly maxLifetimeSecs?: number
  /** Defaults of the transaction functions for retries. */
  readonly retry?: RetryOptions
  /** Returns a token for one physical connection to the first host. Rejects with a `PgIamError`. */
  token(): Promise<Token>
  /** The value of `token()`, for clients that take a password function. */
  password(): Promise<string>
  stats(): LoginStats
}

/** The parts of a login that only the core uses. */
export interface LoginInternals {
  connectionOpened(): void
  connectionClosed(): void
  conflictRetried(): void
  /** Publishes an event, and logs it if the login has a logger. */
  readonly report: Report
  /** The logger of the login's options. */
  readonly logger: Logger | undefined
  /** Limits when connections may be dialled. */
  readonly connectLimiter: ConnectLimiter
  /** The endpoints that connections may go to, and their health. */
  readonly endpoints: EndpointHealth
  /** Ends the login: from now on its tokens reject with this error. */
  end(error: Error): void
  /** Loads new credentials after a server rejected a token signed with the current ones. Resolves with whether they differ. */
  renewCredentials(): Promise<boolean>
  /** The time limit for a physical connection, in milliseconds. */
  readonly connectTimeoutMs: number
  /** Whether tokens are ordinary passwords, so that the server may also request SCRAM. */
  readonly tokensArePasswords: boolean
  /** The hint for an error with which the server rejected the login. */
  explainRefusal(refusal: Refusal): string | undefined
}

/** The internals of a login, or `undefined` for an object that only looks like one. */
export function internalsOf(login: Login): LoginInternals | undefined {
  return (login as { [INTERNALS]?: LoginInternals })[INTERNALS]
}

/** A registered symbol, shared by the ESM and the CommonJS copy of the package. */
const INTERNALS: unique symbol = Symbol.for('pg-iam.login-internals') as never

/** A login, including one from the other copy of the package, or an object derived from one. */
export const loginCheck: Check<Login> = (value, name) => {
  if (
    !isPlainObject(value) ||
    typeof value['token'] !== 'function' ||
    !isPlainObject(value['tls'])
  ) {
    throw invalidOption(name, 'a login, such as rds() returns, or the URL of one', value)
  }
  return value as unknown as Login
}

/** One host of a login. */
export interface HostSettings {
  host: string
  region?: string
  /** The address to dial, if it differs from `host` and the login's `port`. */
  connectTo: Address | undefined
  /** Requests a new token from the issuer for `host`: this host, or the one that its CNAME points to. */
  issueToken: (host: string) => Promise<Token>
  /** Resolves this host's CNAME, once per connection. Default: no resolution. */
  resolveHost?: () => Promise<string>
  /** Startup parameters that the provider needs. `options` are appended to those of the driver or the login. */
  startupParameters?: Readonly<Record<string, string>>
}

export interface LoginSettings extends Omit<CommonSettings, 'targets'> {
  provider: ProviderName
  /** At least one; tried in order. */
  hosts: NonEmpty<HostSettings>
  /** Whether tokens are signed locally or requested from a service, for messages. Default `sign`. */
  tokenVerb?: 'sign' | 'get'
  /**
   * Loads the CA certificates to trust for a host, as PEM text, if the caller gives none. `undefined` means those shipped with Node, which
   * are the default.
   */
  loadAuthorities?: (host: string) => Promise<string | undefined>
  /** Whether tokens are ordinary passwords, so that the server may also request SCRAM. Default `false`. */
  tokensArePasswords?: boolean
  /** AWS credentials. A server may reject their tokens before the credentials expire. */
  credentials?: Renewable
  /** Returns a hint for a rejected login. It is added to the server's error if that has none. */
  explainRefusal?: (refusal: Refusal) => string | undefined
  /** Returns a hint for a connection to `host` that could not be opened or whose certificate is not trusted. */
  explainFailure?: (error: unknown, host: string) => string | undefined
}

/** Creates a login. No token is requested until a connection needs one. */
export function createLogin(given: LoginSettings, clock?: Clock): Login {
  // A shared token that a server rejects is not used again, also if there are no credentials to renew.
  const invalidation =
    given.reuseTokenSecs === 0 ? {} : { credentials: createTokenInvalidation(clock) }
  const settings: LoginSettings = { ...invalidation, ...given }
  const { provider, hosts, port, database, counters } = settings
  const known: KnownUser = { user: settings.user }
  const report = createReporter(settings.logger)
  const endpoints = hosts.map((host) => endpointFor(host, settings, known, report, clock))
  const [first] = endpoints as [Endpoint]
  const [{ region, connectTo }] = hosts
  const internals: LoginInternals = {
    connectionOpened: () => {
      counters.connectionsOpened++
      counters.connectionsOpen++
    },
    connectionClosed: () => {
      counters.connectionsOpen--
    },
    conflictRetried: () => {
      counters.conflictsRetried++
    },
    report,
    logger: settings.logger,
    connectLimiter: createConnectLimiter(settings.connectRate),
    endpoints: createEndpointHealth(endpoints),
    end: (error) => {
      known.ended ??= error
    },
    renewCredentials: settings.credentials?.renewAfterRefusal ?? (() => Promise.resolve(false)),
    connectTimeoutMs: settings.connectTimeoutMs,
    tokensArePasswords: settings.tokensArePasswords ?? false,
    explainRefusal: settings.explainRefusal ?? (() => undefined),
  }
  const token = async (): Promise<Token> => (await first.resolve()).token()
  const login: Login = {
    provider,
    host: first.host,
    ...(hosts.length === 1 ? {} : { hosts: Object.freeze(hosts.map(({ host }) => host)) }),
    port,
    database,
    get user() {
      return known.user
    },
    ...(region === undefined ? {} : { region }),
    ...(connectTo === undefined ? {} : { connectTo: Object.freeze({ ...connectTo }) }),
    tls: first.tls,
    tlsNegotiation: first.negotiation,
    ...(Object.keys(settings.startupParameters).length === 0
      ? {}
      : { startupParameters: Object.freeze({ ...settings.startupParameters }) }),
    ...(settings.keepAlive === undefined ? {} : { keepAlive: settings.keepAlive }),
    ...(settings.maxLifetimeSecs === undefined
      ? {}
      : { maxLifetimeSecs: settings.maxLifetimeSecs }),
    ...(settings.retry === undefined ? {} : { retry: Object.freeze({ ...settings.retry }) }),
    token,
    password: async () => (await token()).value,
    stats: () => ({ ...counters }),
  }
  Object.defineProperty(login, INTERNALS, { value: internals })
  return Object.freeze(login)
}

/** What changes in a login: the user, once it is known, since some tokens name it, and its end. */
interface KnownUser {
  user: string | undefined
  /** The error of its tokens, if it has ended. */
  ended?: Error
}

function endpointFor(
  { host, connectTo, issueToken, resolveHost, startupParameters = {} }: HostSettings,
  settings: LoginSettings,
  known: KnownUser,
  report: Report,
  clock: Clock | undefined,
): Endpoint {
  const { provider, port, tls, counters, loadAuthorities, explainFailure } = settings
  const { tokenVerb = 'sign' } = settings
  const sourceFor = (target: string): (() => Promise<Token>) => {
    const source = createTokenSource(
      {
        issue: async () => {
          const token = await issueToken(target)
          // Some issuers name a different user in each token.
          known.user = token.user ?? known.user
          return token
        },
        identity: () => ({ provider, host: target, user: known.user }),
        purpose: `${tokenVerb} a token for ${target}`,
        reuseMs: settings.reuseTokenSecs * 1_000,
        timeoutMs: settings.tokenTimeoutMs,
        counters,
        report,
        ...(settings.credentials === undefined
          ? {}
          : { replacements: settings.credentials.replacements }),
      },
      clock,
    )
    return () => (known.ended === undefined ? source() : Promise.reject(known.ended))
  }
  const resolvedEndpointFor = (target: string): ResolvedEndpoint => ({
    tls: verifiedTls(target, tls),
    token: sourceFor(target),
    ...(loadAuthorities === undefined ? {} : { loadAuthorities: () => loadAuthorities(target) }),
    ...(explainFailure === undefined
      ? {}
      : { explainFailure: (error) => explainFailure(error, target) }),
  })
  const unresolved = resolvedEndpointFor(host)
  const others = new Map<string, ResolvedEndpoint>()
  const endpointOf = (target: string): ResolvedEndpoint => {
    if (target === host) return unresolved
    const other = others.get(target) ?? {
      ...resolvedEndpointFor(target),
      // Dials the resolved name: the CNAME of `host` may change in the meantime.
      ...(connectTo === undefined ? { address: { host: target, port } } : {}),
    }
    others.set(target, other)
    return other
  }
  return {
    host,
    address: connectTo ?? { host, port },
    ...(connectTo === undefined ? {} : { connectTo }),
    tls: unresolved.tls,
    negotiation: tls.negotiation ?? 'postgres',
    startupParameters,
    ...(settings.keepAlive === undefined ? {} : { keepAlive: settings.keepAlive }),
    resolve: async () => endpointOf(resolveHost === undefined ? host : await resolveHost()),
  }
}

/** A login: all that one database login needs. */
import type { Refusal } from './connection/authenticate.js'
import { type ConnectLimiter, createConnectLimiter } from './connection/connect-limiter.js'
import { createEndpointHealth, type EndpointHealth } from './connection/endpoint-health.js'
import type { Address, Endpoint, ResolvedEndpoint } from './connection/log-in.js'
import { createReporter, type Report } from './events.js'
import {
  type Check,
  type Environment,
  invalidOption,
  isPlainObject,
  type NonEmpty,
} from './options/check.js'
import type { StartupParameters } from './options/startup-parameters.js'
import type { CommonSettings } from './options/common-options.js'
import { type TlsNegotiation, verifiedTls, type VerifiedTls } from './tls.js'
import {
  type Clock,
  createTokenSource,
  type LoginStats,
  type Renewable,
} from './tokens/token-source.js'
import type { Token } from './tokens/token.js'
import type { RetryOptions } from './transactions/retry.js'

/** The clouds that pg-iam knows. */
export type ProviderName = 'aurora-dsql' | 'rds' | 'redshift' | 'entra' | 'cloud-sql' | 'custom'

/**
 * All that one database login needs: where to, as whom, over which TLS, and where its tokens come from.
 *
 * Made by `auroraDsql()` and its siblings, and handed to an adapter. It is frozen and holds no secret.
 */
export interface Login {
  readonly provider: ProviderName
  /** The host that tokens are made for and that TLS is verified for; the first of several. */
  readonly host: string
  /** All hosts, where there are several: a connection goes to the first that answers. */
  readonly hosts?: readonly string[]
  readonly port: number
  readonly database: string
  /** The database user; `undefined` until the first token where the token names it. */
  readonly user: string | undefined
  readonly region?: string
  /** Where connections are dialled, where that is not `host` and `port`. */
  readonly connectTo?: Address
  readonly tls: VerifiedTls
  readonly tlsNegotiation: TlsNegotiation
  /** The run-time parameters that each session begins with, where the driver is given no other: by their names in lower case. */
  readonly startupParameters?: StartupParameters
  /** Whether TCP asks if the other side is still there, or after how many seconds; where the login says so. */
  readonly keepAlive?: boolean | number
  /** The age, in seconds, at which pools replace a connection; `undefined` where age is no reason to. */
  readonly maxLifetimeSecs?: number
  /** How the transaction functions retry, where the login says so. */
  readonly retry?: RetryOptions
  /** Gives the token of one physical connection, to the first host. Rejects with a `PgIamError`. */
  token(): Promise<Token>
  /** The value of `token()`, for whatever takes a password function. */
  password(): Promise<string>
  stats(): LoginStats
}

/** What a login holds for the rest of the core, and for nobody else. */
export interface LoginInternals {
  connectionOpened(): void
  connectionClosed(): void
  conflictRetried(): void
  /** Publishes what happens, and logs it where the login has a logger. */
  readonly report: Report
  /** Says when the next connection may be dialled. */
  readonly connectLimiter: ConnectLimiter
  /** Where connections may go. */
  readonly endpoints: EndpointHealth
  /** Looks for other credentials, after a server refused what these have signed. Resolves with whether there are some. */
  renewCredentials(): Promise<boolean>
  /** How long a physical connection may take, in milliseconds. */
  readonly connectTimeoutMs: number
  /** Whether tokens are ordinary passwords, which a server may ask for by SCRAM, too. */
  readonly tokensArePasswords: boolean
  /** What to do about a refusal of the server. */
  explainRefusal(refusal: Refusal): string | undefined
}

/** The internals of a login, or `undefined` for an object that only looks like one. */
export function internalsOf(login: Login): LoginInternals | undefined {
  return (login as { [INTERNALS]?: LoginInternals })[INTERNALS]
}

/** A registered symbol, because the ESM and the CommonJS copy of the package must both find it. */
const INTERNALS: unique symbol = Symbol.for('pg-iam.login-internals') as never

/** What `loginFromUrl` and `loginFromEnv` know of a provider. */
export interface Provider {
  /** Tells whether a host name, in lower case and without a final dot, is one of this provider's. */
  isHost(host: string): boolean
  /** How its host names look, for the hint of an error: `Aurora DSQL: CLUSTER.dsql.REGION.on.aws`. */
  readonly hostForm: string
  /** Makes a login; what was given is checked here. */
  create(options: object, env: Environment): Login
}

/** A login, also of the package's other copy, or an object that was made of one. */
export const loginCheck: Check<Login> = (value, name) => {
  if (
    !isPlainObject(value) ||
    typeof value['token'] !== 'function' ||
    !isPlainObject(value['tls'])
  ) {
    throw invalidOption(name, 'a login, such as rds() returns', value)
  }
  return value as unknown as Login
}

/** One of the hosts of a login. */
export interface HostSettings {
  host: string
  region?: string
  /** Where it is dialled, where that is not `host` and the login's `port`. */
  connectTo: Address | undefined
  /**
   * Asks the issuer for a new token. `host` is the host that the token is for: this one, or the one that it is another name for.
   */
  issueToken: (host: string) => Promise<Token>
  /** Finds the host that this one is another name for, for each connection anew. Default: it is its own name. */
  resolveHost?: () => Promise<string>
  /** Startup parameters that the provider needs; `options` are put behind those of the driver or the login. */
  startupParameters?: Readonly<Record<string, string>>
}

export interface LoginSettings extends Omit<CommonSettings, 'targets'> {
  provider: ProviderName
  /** At least one; a connection goes to the first that answers. */
  hosts: NonEmpty<HostSettings>
  /** Whether a token is signed here, or got from elsewhere, for messages. Default `sign`. */
  tokenVerb?: 'sign' | 'get'
  /**
   * Loads the authorities to trust for a host, as PEM text, where the caller names none; `undefined` for those that ship with
   * Node, which are the default.
   */
  loadAuthorities?: (host: string) => Promise<string | undefined>
  /** Whether tokens are ordinary passwords, which a server may ask for by SCRAM, too. Default `false`. */
  tokensArePasswords?: boolean
  /** AWS credentials, which a server may refuse before they have ended. */
  credentials?: Renewable
  /** What to do about a refusal, for the server's error to carry as its hint where it has none. */
  explainRefusal?: (refusal: Refusal) => string | undefined
  /** What to do about a connection to `host` that could not be opened, or was not trusted, for the error to carry as its hint. */
  explainFailure?: (error: unknown, host: string) => string | undefined
}

/** Creates a login. No token is made before one is asked for. */
export function createLogin(settings: LoginSettings, clock?: Clock): Login {
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
    connectLimiter: createConnectLimiter(settings.connectRate),
    endpoints: createEndpointHealth(endpoints),
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

/** The user, once it is known: some tokens name it. */
interface KnownUser {
  user: string | undefined
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
  const sourceFor = (target: string): (() => Promise<Token>) =>
    createTokenSource(
      {
        issue: async () => {
          const token = await issueToken(target)
          // Some issuers name another one with each token.
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
  const asFound = (target: string): ResolvedEndpoint => ({
    tls: verifiedTls(target, tls),
    token: sourceFor(target),
    ...(loadAuthorities === undefined ? {} : { loadAuthorities: () => loadAuthorities(target) }),
    ...(explainFailure === undefined
      ? {}
      : { explainFailure: (error) => explainFailure(error, target) }),
  })
  const asGiven = asFound(host)
  const others = new Map<string, ResolvedEndpoint>()
  const destinationFor = (target: string): ResolvedEndpoint => {
    if (target === host) return asGiven
    const other = others.get(target) ?? {
      ...asFound(target),
      // The very name that was found is dialled: the host may be another name for something else by then.
      ...(connectTo === undefined ? { address: { host: target, port } } : {}),
    }
    others.set(target, other)
    return other
  }
  return {
    host,
    address: connectTo ?? { host, port },
    tls: asGiven.tls,
    negotiation: tls.negotiation ?? 'postgres',
    startupParameters,
    ...(settings.keepAlive === undefined ? {} : { keepAlive: settings.keepAlive }),
    resolve: async () => destinationFor(resolveHost === undefined ? host : await resolveHost()),
  }
}

/** Puts a login together from checked settings. */
import type { Refusal } from './connection/authenticate.js'
import { createConnectPacer } from './connection/connect-pacer.js'
import { createEndpointSet } from './connection/endpoint-set.js'
import type { Destination, Endpoint } from './connection/log-in.js'
import { createReporter, type Report } from './events.js'
import {
  INTERNALS,
  type Address,
  type Login,
  type LoginInternals,
  type ProviderName,
} from './login.js'
import type { NonEmpty } from './non-empty.js'
import type { CommonSettings } from './providers/common-settings.js'
import { createTokenSource, type Clock } from './tokens/token-source.js'
import type { Token } from './tokens/token.js'
import { verifiedTls } from './tls/verified-tls.js'

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
  findOwnName?: () => Promise<string>
  /** Startup parameters that the provider needs; `options` are put behind those of the driver or the login. */
  startupParameters?: Readonly<Record<string, string>>
}

export interface LoginSettings extends Omit<CommonSettings, 'places'> {
  provider: ProviderName
  /** At least one; a connection goes to the first that answers. */
  hosts: NonEmpty<HostSettings>
  /** Whether a token is signed here, or got from elsewhere, for messages. Default `sign`. */
  tokensAre?: 'signed' | 'got'
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

/** Credentials that a server may refuse before they have ended. */
export interface Renewable {
  renewAfterRefusal(): Promise<boolean>
  replacements(): number
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
    pacer: createConnectPacer(settings.connectRate),
    endpoints: createEndpointSet(endpoints),
    renewCredentials: settings.credentials?.renewAfterRefusal ?? (() => Promise.resolve(false)),
    connectTimeoutMs: settings.connectTimeoutMs,
    tokensArePasswords: settings.tokensArePasswords ?? false,
    explainRefusal: settings.explainRefusal ?? (() => undefined),
  }
  const token = async (): Promise<Token> => (await first.find()).token()
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
  { host, connectTo, issueToken, findOwnName, startupParameters = {} }: HostSettings,
  settings: LoginSettings,
  known: KnownUser,
  report: Report,
  clock: Clock | undefined,
): Endpoint {
  const { provider, port, tls, counters, loadAuthorities, explainFailure } = settings
  const { tokensAre = 'signed' } = settings
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
        purpose: `${tokensAre === 'signed' ? 'sign' : 'get'} a token for ${target}`,
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
  const asFound = (target: string): Destination => ({
    tls: verifiedTls(target, tls),
    token: sourceFor(target),
    ...(loadAuthorities === undefined ? {} : { loadAuthorities: () => loadAuthorities(target) }),
    ...(explainFailure === undefined
      ? {}
      : { explainFailure: (error) => explainFailure(error, target) }),
  })
  const asGiven = asFound(host)
  const others = new Map<string, Destination>()
  const destinationFor = (target: string): Destination => {
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
    find: async () => destinationFor(findOwnName === undefined ? host : await findOwnName()),
  }
}

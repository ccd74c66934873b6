/** Puts a login together from checked settings. */
import type { RetryOptions } from './conflict/retry-options.js'
import { createConnectPacer } from './connection/connect-pacer.js'
import { createEndpointSet } from './connection/endpoint-set.js'
import type { Endpoint } from './connection/log-in.js'
import {
  INTERNALS,
  type Address,
  type Login,
  type LoginInternals,
  type ProviderName,
} from './login.js'
import type { LoginCounters } from './tokens/login-counters.js'
import { createTokenSource, type Clock } from './tokens/token-source.js'
import type { Token } from './tokens/token.js'
import { verifiedTls, type TlsOptions } from './tls/verified-tls.js'

/** One of the hosts of a login. */
export interface HostSettings {
  host: string
  region: string
  /** Where it is dialled, where that is not `host` and the login's `port`. */
  connectTo: Address | undefined
  /** Asks the issuer for a new token for this host. */
  issueToken: () => Promise<Token>
}

export interface LoginSettings {
  provider: ProviderName
  /** At least one; a connection goes to the first that answers. */
  hosts: readonly [HostSettings, ...HostSettings[]]
  port: number
  database: string
  user: string
  tls: TlsOptions
  maxLifetimeSecs: number
  reuseTokenSecs: number
  tokenTimeoutMs: number
  connectTimeoutMs: number
  connectRate: number | undefined
  retry: RetryOptions | undefined
  counters: LoginCounters
  credentials: Renewable
}

/** Credentials that a server may refuse before they have ended. */
export interface Renewable {
  renewAfterRefusal(): Promise<boolean>
  replacements(): number
}

/** Creates a login. No token is made before one is asked for. */
export function createLogin(settings: LoginSettings, clock?: Clock): Login {
  const { provider, hosts, port, database, user, counters } = settings
  const endpoints = hosts.map((host) => endpointFor(host, settings, clock))
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
    pacer: createConnectPacer(settings.connectRate),
    endpoints: createEndpointSet(endpoints),
    renewCredentials: settings.credentials.renewAfterRefusal,
    connectTimeoutMs: settings.connectTimeoutMs,
  }
  const login: Login = {
    provider,
    host: first.host,
    ...(hosts.length === 1 ? {} : { hosts: Object.freeze(hosts.map(({ host }) => host)) }),
    port,
    database,
    user,
    region,
    ...(connectTo === undefined ? {} : { connectTo: Object.freeze({ ...connectTo }) }),
    tls: first.tls,
    tlsNegotiation: first.negotiation,
    maxLifetimeSecs: settings.maxLifetimeSecs,
    ...(settings.retry === undefined ? {} : { retry: Object.freeze({ ...settings.retry }) }),
    token: first.token,
    password: async () => (await first.token()).value,
    stats: () => ({ ...counters }),
  }
  Object.defineProperty(login, INTERNALS, { value: internals })
  return Object.freeze(login)
}

function endpointFor(
  { host, connectTo, issueToken }: HostSettings,
  settings: LoginSettings,
  clock: Clock | undefined,
): Endpoint {
  const { provider, port, user, tls, counters } = settings
  const token = createTokenSource(
    {
      issue: issueToken,
      identity: () => ({ provider, host, user }),
      purpose: `sign a token for ${host}`,
      reuseMs: settings.reuseTokenSecs * 1_000,
      timeoutMs: settings.tokenTimeoutMs,
      counters,
      replacements: settings.credentials.replacements,
    },
    clock,
  )
  return {
    host,
    address: connectTo ?? { host, port },
    tls: verifiedTls(host, tls),
    negotiation: tls.negotiation ?? 'postgres',
    token,
  }
}

/** Puts a login together from checked settings. */
import { createConnectPacer } from './connection/connect-pacer.js'
import {
  INTERNALS,
  type Address,
  type Login,
  type LoginInternals,
  type ProviderName,
} from './login.js'
import type { RetryOptions } from './conflict/retry-options.js'
import type { LoginCounters } from './tokens/login-counters.js'
import { createTokenSource, type Clock } from './tokens/token-source.js'
import type { Token } from './tokens/token.js'
import { verifiedTls, type TlsOptions } from './tls/verified-tls.js'

export interface LoginSettings {
  provider: ProviderName
  host: string
  port: number
  database: string
  user: string
  region: string
  connectTo: Address | undefined
  tls: TlsOptions
  maxLifetimeSecs: number
  reuseTokenSecs: number
  tokenTimeoutMs: number
  connectTimeoutMs: number
  connectRate: number | undefined
  retry: RetryOptions | undefined
  counters: LoginCounters
  /** Asks the issuer for a new token. */
  issueToken: () => Promise<Token>
}

/** Creates a login. No token is made before one is asked for. */
export function createLogin(settings: LoginSettings, clock?: Clock): Login {
  const { provider, host, port, database, user, region, connectTo, counters } = settings
  const token = createTokenSource(
    {
      issue: settings.issueToken,
      identity: () => ({ provider, host, user }),
      purpose: `sign a token for ${host}`,
      reuseMs: settings.reuseTokenSecs * 1000,
      timeoutMs: settings.tokenTimeoutMs,
      counters,
    },
    clock,
  )
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
    connectTimeoutMs: settings.connectTimeoutMs,
  }
  const login: Login = {
    provider,
    host,
    port,
    database,
    user,
    region,
    ...(connectTo === undefined ? {} : { connectTo: Object.freeze({ ...connectTo }) }),
    tls: verifiedTls(host, settings.tls),
    tlsNegotiation: settings.tls.negotiation ?? 'postgres',
    maxLifetimeSecs: settings.maxLifetimeSecs,
    ...(settings.retry === undefined ? {} : { retry: Object.freeze({ ...settings.retry }) }),
    token,
    password: async () => (await token()).value,
    stats: () => ({ ...counters }),
  }
  Object.defineProperty(login, INTERNALS, { value: internals })
  return Object.freeze(login)
}

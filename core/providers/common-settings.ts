/** What the logins of all providers take from options and environment in the same way. */
import type { RetryOptions } from '../conflict/retry-options.js'
import { PgIamError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { Address } from '../login.js'
import { mapNonEmpty, type NonEmpty } from '../non-empty.js'
import type { Checked } from '../options/check.js'
import {
  environmentDefaults,
  oneName,
  type COMMON_CHECKS,
  type Environment,
  type EnvironmentDefaults,
} from '../options/common-options.js'
import type { StartupParameters } from '../options/startup-parameters.js'
import { refuseNoVersion, type TlsOptions } from '../tls/verified-tls.js'
import { createLoginCounters, type LoginCounters } from '../tokens/login-counters.js'

/** What a provider has where nothing was given. */
export interface ProviderDefaults {
  port: number
  database: string
  /** For how many seconds a token is shared; `Infinity` until it nears its end. */
  reuseTokenSecs: number
  /** The age, in seconds, up to which a pool uses a connection. Default: age does not count. */
  maxLifetimeSecs?: number
  /** What a missing `host` is asked for as, such as `the endpoint name of the cluster`. */
  hostHint: string
}

/** One of the hosts that were given, and where it is dialled. */
export interface Place {
  host: string
  connectTo: Address | undefined
}

export interface CommonSettings {
  places: NonEmpty<Place>
  port: number
  database: string
  /** Given, or from the environment. */
  user: string | undefined
  tls: TlsOptions
  startupParameters: StartupParameters
  keepAlive: boolean | number | undefined
  maxLifetimeSecs: number | undefined
  reuseTokenSecs: number
  tokenTimeoutMs: number
  connectTimeoutMs: number
  connectRate: number | undefined
  retry: RetryOptions | undefined
  logger: Logger | undefined
  counters: LoginCounters
}

/** Throws `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, naming the option or the variable. */
export function commonSettings(
  options: Checked<typeof COMMON_CHECKS>,
  env: Environment,
  defaults: ProviderDefaults,
): CommonSettings {
  const user = oneName({ user: options.user, username: options.username }, 'user', 'username')
  const { tls, startupParameters = {} } = options
  const fromEnv = environmentDefaults(env, {
    ...options,
    ...tls,
    user,
    applicationName: startupParameters['application_name'],
    commandLine: startupParameters['options'],
  })
  const port = options.port ?? fromEnv.port ?? defaults.port
  return {
    places: placesOf(options, fromEnv.host, port, defaults.hostHint),
    port,
    database: options.database ?? fromEnv.database ?? defaults.database,
    user: user ?? fromEnv.user,
    tls: tlsOf(options.tls, fromEnv),
    startupParameters: {
      ...(fromEnv.applicationName === undefined
        ? {}
        : { application_name: fromEnv.applicationName }),
      ...(fromEnv.commandLine === undefined ? {} : { options: fromEnv.commandLine }),
      ...startupParameters,
    },
    keepAlive: options.keepAlive,
    maxLifetimeSecs: options.maxLifetimeSecs ?? defaults.maxLifetimeSecs,
    reuseTokenSecs: options.reuseTokenSecs ?? defaults.reuseTokenSecs,
    tokenTimeoutMs: options.tokenTimeoutMs ?? 10_000,
    connectTimeoutMs: options.connectTimeoutMs ?? fromEnv.connectTimeoutMs ?? 30_000,
    connectRate: options.connectRate,
    retry: options.retry,
    logger: options.logger,
    counters: createLoginCounters(),
  }
}

/** The user, where neither tokens nor claims name it. Throws `ERR_OPTION_INVALID`. */
export function requiredUser({ user }: Pick<CommonSettings, 'user'>, hint: string): string {
  if (user !== undefined) return user
  throw new PgIamError('ERR_OPTION_INVALID', '"user" must be given', { hint })
}

/** Node would refuse versions that exclude each other, but only when the first connection is dialled. */
function tlsOf(given: TlsOptions | undefined, fromEnv: EnvironmentDefaults): TlsOptions {
  const { ca, negotiation, minVersion, maxVersion } = fromEnv
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(negotiation === undefined ? {} : { negotiation }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...given,
  }
  refuseNoVersion(tls, 'tls.')
  return tls
}

function placesOf(
  { host, connectTo, tls }: Checked<typeof COMMON_CHECKS>,
  hostOfEnvironment: EnvironmentDefaults['host'],
  port: number,
  hostHint: string,
): NonEmpty<Place> {
  const given =
    host ??
    (typeof hostOfEnvironment === 'string' ? ([hostOfEnvironment] as const) : hostOfEnvironment)
  if (given === undefined) {
    throw new PgIamError('ERR_OPTION_INVALID', '"host" must be given', {
      hint: `Give ${hostHint}, or set PGHOST.`,
    })
  }
  if (connectTo !== undefined && connectTo.length !== given.length) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"connectTo" must have an address for each of the ${given.length} hosts, got ${connectTo.length}`,
    )
  }
  if (tls?.servername !== undefined && given.length > 1) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      '"tls.servername" must not be given for several hosts',
    )
  }
  return mapNonEmpty(given, (name, index) => {
    const address = connectTo?.[index]
    return { host: name, connectTo: address && { port, ...address } }
  })
}

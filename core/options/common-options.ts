/** The options that every provider has, their checks, and where they come from when they are not given. */
import type { Address } from '../connection/log-in.js'
import { PgIamError } from '../errors.js'
import { logger, type Logger } from '../events.js'
import {
  certificateAuthority,
  newestVersion,
  oldestVersion,
  refuseNoVersion,
  type TlsNegotiation,
  tlsOptions,
  type TlsOptions,
  type TlsVersion,
} from '../tls.js'
import { createLoginCounters, type LoginCounters } from '../tokens/token-source.js'
import { retryOptions, type RetryOptions } from '../transactions/retry.js'
import {
  type Check,
  type Checked,
  checkOptions,
  type Environment,
  hostName,
  integerWithin,
  mapNonEmpty,
  type NonEmpty,
  numberWithin,
  oneOf,
  oneOrMore,
  port,
  presentIn,
  text,
} from './check.js'
import { connectTimeoutMs, HARMLESS_VARIABLES, hostList, onlyHarmless } from './connection-url.js'
import {
  type GivenStartupParameters,
  startupParameters,
  type StartupParameters,
  startupText,
} from './startup-parameters.js'

export interface CommonOptions {
  /** Endpoint name of the database, or several: a connection goes to the first that answers. Default `PGHOST`. */
  host?: string | readonly string[]
  /** TCP port. Default `PGPORT`, else 5432. */
  port?: number
  /** Database name. Default `PGDATABASE`, else the provider's. */
  database?: string
  /** Database user. Default `PGUSER`. */
  user?: string
  /** Another name for `user`. */
  username?: string
  /** Dials this address instead of `host` and `port`, while tokens are still made and TLS verified for `host`: tunnels, CNAMEs, VPC endpoints. One for each host. */
  connectTo?: DialAddress | readonly DialAddress[]
  /** TLS settings. TLS itself and its verification cannot be turned off. */
  tls?: TlsOptions
  /**
   * Run-time parameters of PostgreSQL that each session begins with, such as `{ application_name: 'web', statement_timeout: 5_000 }`.
   * Those that are given to the driver count for more. Default: `PGAPPNAME` and `PGOPTIONS`; without either `application_name` is
   * `pg-iam/VERSION`.
   */
  startupParameters?: GivenStartupParameters
  /**
   * Whether TCP asks after a while of silence if the other side is still there, or after how many seconds, from 1 to 86,400; `true`
   * leaves that to the system. What is given to the driver counts for more. Default: as the driver does.
   */
  keepAlive?: boolean | number
  /**
   * Age in seconds up to which pools use a connection, from 1 to 604,800. Default: 3,300 for Aurora DSQL, which ends sessions at 60
   * minutes; none for the others, of which no such limit is known.
   */
  maxLifetimeSecs?: number
  /** For how many seconds one token may serve further connections, from 0 to 3,600. Default: the provider's. */
  reuseTokenSecs?: number
  /** How long a token may take, credentials included, in milliseconds, from 1 to 600,000. Default 10,000. */
  tokenTimeoutMs?: number
  /** How long a physical connection may take, token included, in milliseconds, from 1 to 600,000. Default 30,000. */
  connectTimeoutMs?: number
  /** How many physical connections a second the login opens at the most, from 0.1 to 10,000. Default: no limit. */
  connectRate?: number
  /** How the transaction functions retry a conflict, where their own options do not say. */
  retry?: RetryOptions
  /** Is told of tokens and connections: failed tokens and lost connections as warnings, all else for debugging. Default: nobody. */
  logger?: Logger
}

/** Where to dial instead of the host itself. */
interface DialAddress {
  host: string
  /** Default: the port of the login. */
  port?: number
}

const dialAddress: Check<DialAddress> = (value, name) => {
  const { host, port: dialledPort } = checkOptions(value, { host: hostName, port }, `${name}.`)
  if (host === undefined) throw new PgIamError('ERR_OPTION_INVALID', `"${name}.host" must be given`)
  return dialledPort === undefined ? { host } : { host, port: dialledPort }
}

const keepAlive: Check<boolean | number> = (value, name) =>
  typeof value === 'boolean' ? value : numberWithin(1, 86_400, 'seconds')(value, name)

export const COMMON_CHECKS: {
  host: Check<NonEmpty<string>>
  port: Check<number>
  database: Check<string>
  user: Check<string>
  username: Check<string>
  connectTo: Check<NonEmpty<DialAddress>>
  tls: Check<TlsOptions>
  startupParameters: Check<StartupParameters>
  keepAlive: Check<boolean | number>
  maxLifetimeSecs: Check<number>
  reuseTokenSecs: Check<number>
  tokenTimeoutMs: Check<number>
  connectTimeoutMs: Check<number>
  connectRate: Check<number>
  retry: Check<RetryOptions>
  logger: Check<Logger>
} = {
  host: oneOrMore(hostName),
  port,
  database: text,
  user: text,
  username: text,
  connectTo: oneOrMore(dialAddress),
  tls: tlsOptions,
  startupParameters,
  keepAlive,
  maxLifetimeSecs: numberWithin(1, 604_800, 'seconds'),
  reuseTokenSecs: numberWithin(0, 3_600, 'seconds'),
  tokenTimeoutMs: integerWithin(1, 600_000, 'milliseconds'),
  connectTimeoutMs: integerWithin(1, 600_000, 'milliseconds'),
  connectRate: numberWithin(0.1, 10_000, 'connections a second'),
  retry: retryOptions,
  logger,
}

/** Where an option was not given, the variable that libpq or the AWS SDK reads for it. */
interface EnvironmentDefaults {
  /** One, or several. */
  host?: string | NonEmpty<string>
  port?: number
  database?: string
  user?: string
  ca?: string
  negotiation?: TlsNegotiation
  minVersion?: TlsVersion
  maxVersion?: TlsVersion
  connectTimeoutMs?: number
  applicationName?: string
  /** What `options` of the startup packet is to be. */
  commandLine?: string
}

/**
 * Reads libpq's variables for what was not `given`. Empty ones count as not set, as for libpq, and those of given options
 * are not looked at: a PGHOST that holds a socket directory is no mistake of a caller who names the host.
 *
 * A variable that asks for what pg-iam does not do, such as another server of several than the first that answers, is refused.
 */
export function environmentDefaults(
  env: Environment,
  given: { readonly [Name in keyof EnvironmentDefaults]?: unknown } = {},
): EnvironmentDefaults {
  refuseWeakMode(env)
  for (const [parameter, variable] of Object.entries(HARMLESS_VARIABLES)) {
    const value = presentIn(env, variable)
    if (value !== undefined) onlyHarmless(parameter, value, variable)
  }
  const read = <T>(option: keyof EnvironmentDefaults, name: string, check: Check<T>): object => {
    const value = presentIn(env, name)
    if (given[option] !== undefined || value === undefined) return {}
    return { [option]: check(value, name) }
  }
  return {
    ...read('host', 'PGHOST', hosts),
    ...read('port', 'PGPORT', portOfAll),
    ...read('database', 'PGDATABASE', text),
    ...read('user', 'PGUSER', text),
    // "system" is libpq's word for the authorities of the operating system; those of Node are what we have for it.
    ...(env['PGSSLROOTCERT'] === 'system' ? {} : read('ca', 'PGSSLROOTCERT', certificateAuthority)),
    ...read('negotiation', 'PGSSLNEGOTIATION', oneOf('postgres', 'direct')),
    ...read('minVersion', 'PGSSLMINPROTOCOLVERSION', oldestVersion),
    ...read('maxVersion', 'PGSSLMAXPROTOCOLVERSION', newestVersion),
    ...read('connectTimeoutMs', 'PGCONNECT_TIMEOUT', (value, name) =>
      connectTimeoutMs(String(value), name),
    ),
    ...read('applicationName', 'PGAPPNAME', startupText),
    ...read('commandLine', 'PGOPTIONS', startupText),
  }
}

const hosts: Check<string | NonEmpty<string>> = (value, name) => {
  const [first, ...others] = hostList(String(value), name).map((host) => hostName(host, name))
  return others.length === 0 ? first! : [first!, ...others]
}

/** As many ports as hosts, or one for all; a token can be for a port, so there is one. */
const portOfAll: Check<number> = (value, name) => {
  const [first, ...others] = new Set(String(value).split(','))
  return port(others.length === 0 ? first : value, name)
}

/** The one name under which an option was given, where it has two. */
export function oneName(
  options: { readonly [name: string]: string | undefined },
  name: string,
  alias: string,
): string | undefined {
  const value = options[name]
  const other = options[alias]
  if (value !== undefined && other !== undefined && value !== other) {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" and "${alias}" must not differ`, {
      hint: `Give "${name}" alone.`,
    })
  }
  return value ?? other
}

function refuseWeakMode(env: Environment): void {
  const mode = env['PGSSLMODE']
  if (mode === undefined || !['disable', 'allow', 'prefer', 'no-verify'].includes(mode)) return
  throw new PgIamError(
    'ERR_TLS_UNVERIFIED',
    `"PGSSLMODE" must not be "${mode}": a token is only sent over verified TLS`,
    {
      hint: 'Remove it, or set it to verify-full.',
    },
  )
}

// What the logins of all providers take from options and environment in the same way.

/** What a provider has where nothing was given. */
interface ProviderDefaults {
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
export interface Target {
  host: string
  connectTo: Address | undefined
}

export interface CommonSettings {
  targets: NonEmpty<Target>
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
  const { tls, startupParameters: given = {} } = options
  const fromEnv = environmentDefaults(env, {
    ...options,
    ...tls,
    user,
    applicationName: given['application_name'],
    commandLine: given['options'],
  })
  const serverPort = options.port ?? fromEnv.port ?? defaults.port
  return {
    targets: targetsOf(options, fromEnv.host, serverPort, defaults.hostHint),
    port: serverPort,
    database: options.database ?? fromEnv.database ?? defaults.database,
    user: user ?? fromEnv.user,
    tls: tlsOf(options.tls, fromEnv),
    startupParameters: {
      ...(fromEnv.applicationName === undefined
        ? {}
        : { application_name: fromEnv.applicationName }),
      ...(fromEnv.commandLine === undefined ? {} : { options: fromEnv.commandLine }),
      ...given,
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

function targetsOf(
  { host, connectTo, tls }: Checked<typeof COMMON_CHECKS>,
  hostOfEnvironment: EnvironmentDefaults['host'],
  defaultPort: number,
  hostHint: string,
): NonEmpty<Target> {
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
    return { host: name, connectTo: address && { port: defaultPort, ...address } }
  })
}

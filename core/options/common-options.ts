/** The options common to all providers: checks, and defaults from the environment. */
import { type HostedProvider, providerOfDomain } from '../providers/host-names.js'
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
  SSL_MODES,
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
  invalidOption,
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
  /** Endpoint name of the database, or several, which are tried in order. Default `PGHOST`. */
  host?: string | readonly string[]
  /** TCP port. Default `PGPORT`, else 5432. */
  port?: number
  /** Database name. Default `PGDATABASE`, else the provider's. */
  database?: string
  /** Database user. Default `PGUSER`. */
  user?: string
  /** Another name for `user`. */
  username?: string
  /**
   * The address to dial instead of `host` and `port`. Tokens are still created and TLS verified for `host`. For tunnels, CNAMEs and VPC
   * endpoints. With several hosts: one address for each. Default: `PG_IAM_CONNECT_TO`, a loopback address and port.
   */
  connectTo?: DialAddress | readonly DialAddress[]
  /** TLS settings. Neither TLS nor its verification can be turned off. */
  tls?: TlsOptions
  /**
   * PostgreSQL run-time parameters of each session, such as `{ application_name: 'web', statement_timeout: 5_000 }`. Parameters given to
   * the driver take precedence. Default: `PGAPPNAME` and `PGOPTIONS`; without either, `application_name` is `pg-iam/VERSION`.
   */
  startupParameters?: GivenStartupParameters
  /**
   * Whether TCP keepalive is on, or its idle time in seconds, from 1 to 86,400; with `true` the operating system's idle time applies. The
   * driver's option takes precedence. Default: the driver's.
   */
  keepAlive?: boolean | number
  /**
   * The age in seconds at which pools stop using a connection, from 1 to 604,800. Default: 3,300 for Aurora DSQL, which ends sessions after
   * 60 minutes; none for the others, which have no known limit.
   */
  maxLifetimeSecs?: number
  /** How long a token may be reused for further connections, in seconds, from 0 to 3,600. Default: the provider's. */
  reuseTokenSecs?: number
  /** Time limit for a token, credentials included, in milliseconds, from 1 to 600,000. Default 10,000. */
  tokenTimeoutMs?: number
  /** Time limit for a physical connection, token included, in milliseconds, from 1 to 600,000. Default 30,000. */
  connectTimeoutMs?: number
  /** Maximum number of physical connections that the login opens per second, from 0.1 to 10,000. Default: no limit. */
  connectRate?: number
  /** Defaults for the retries of the transaction functions. Their own options take precedence. */
  retry?: RetryOptions
  /**
   * Receives token and connection events: failed tokens and lost connections as warnings, everything else at debug level. Default: none.
   */
  logger?: Logger
}

/** The address to dial instead of the host. */
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

/** Defaults for options that are not given, from the variables of libpq and the AWS SDK. */
interface EnvironmentDefaults {
  /** One host or several. */
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
  /** The `options` parameter of the startup packet. */
  commandLine?: string
}

/**
 * Reads libpq's variables for the options that are not in `given`. Empty variables count as unset, as in libpq. Variables of given options
 * are not checked: a PGHOST with a socket directory is no error if the caller gives the host.
 *
 * A variable that asks for something unsupported is rejected, such as a choice among several servers other than by order.
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
    // In libpq, "system" means the CAs of the operating system. Here it means those of Node.
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

/**
 * `PG_IAM_CONNECT_TO`: the address that every login dials in place of its host, such as that of a gateway for development. It is a loopback
 * address: a variable for one machine must not send logins to another.
 */
function dialledAddress(env: Environment): DialAddress | undefined {
  const value = presentIn(env, 'PG_IAM_CONNECT_TO')
  if (value === undefined) return undefined
  const [, host = '', given = ''] =
    /^(localhost|127(?:\.\d{1,3}){3}|\[::1\]):(\d+)$/.exec(value) ?? []
  if (host === '')
    throw invalidOption(
      'PG_IAM_CONNECT_TO',
      'a loopback address and a port, such as 127.0.0.1:54320',
      value,
    )
  return { host: host.replace(/[[\]]/g, ''), port: port(given, 'PG_IAM_CONNECT_TO') }
}

/** libpq allows one port for all hosts or one per host. A token can be specific to a port, so a login has one port. */
const portOfAll: Check<number> = (value, name) => {
  const [first, ...others] = new Set(String(value).split(','))
  return port(others.length === 0 ? first : value, name)
}

/** The value of an option that has an alias. Throws `ERR_OPTION_CONFLICT` if both are given and differ. */
export function oneName(
  options: { readonly [name: string]: string | undefined },
  name: string,
  alias: string,
): string | undefined {
  const value = options[name]
  const other = options[alias]
  if (value !== undefined && other !== undefined && value !== other) {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" and "${alias}" must not differ`, {
      hint: `Give only "${name}".`,
    })
  }
  return value ?? other
}

function refuseWeakMode(env: Environment): void {
  const mode = env['PGSSLMODE']
  if (mode === undefined || mode === '' || SSL_MODES.includes(mode)) return
  throw new PgIamError(
    'ERR_TLS_UNVERIFIED',
    `"PGSSLMODE" must not be "${mode}": a token is only sent over verified TLS`,
    {
      hint: 'Remove it, or set it to verify-full.',
    },
  )
}

// The settings that all providers read from options and environment in the same way.

/** A provider's defaults. */
interface ProviderDefaults {
  port: number
  database: string
  /** How long a token may be reused, in seconds; `Infinity` until it nears its expiry. */
  reuseTokenSecs: number
  /** The age, in seconds, at which pools stop using a connection. Default: no limit. */
  maxLifetimeSecs?: number
  /** Describes `host` in the error for a missing one, such as `the endpoint name of the cluster`. */
  hostHint: string
  /** A host name of another provider is rejected, except by `'custom'`. */
  provider: HostedProvider | 'custom'
}

/** A given host and the address to dial for it. */
export interface Target {
  host: string
  connectTo: Address | undefined
}

export interface CommonSettings {
  targets: NonEmpty<Target>
  port: number
  database: string
  /** From the options or the environment. */
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

/** Throws `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, naming the option or variable. */
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
    targets: targetsOf(options, fromEnv.host, serverPort, defaults, dialledAddress(env)),
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

/** The user, for providers whose tokens do not name it. Throws `ERR_OPTION_INVALID`. */
export function requiredUser({ user }: Pick<CommonSettings, 'user'>, hint: string): string {
  if (user !== undefined) return user
  throw new PgIamError('ERR_OPTION_INVALID', '"user" must be given', { hint })
}

/** Node rejects contradictory versions too, but only when the first connection is dialled. */
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
  { hostHint, provider }: Pick<ProviderDefaults, 'hostHint' | 'provider'>,
  dialled: DialAddress | undefined,
): NonEmpty<Target> {
  const given =
    host ??
    (typeof hostOfEnvironment === 'string' ? ([hostOfEnvironment] as const) : hostOfEnvironment)
  if (given === undefined) {
    throw new PgIamError('ERR_OPTION_INVALID', '"host" must be given', {
      hint: `Give ${hostHint}, or set PGHOST.`,
    })
  }
  for (const name of given) rejectOtherProvider(name, provider)
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
    const address = connectTo?.[index] ?? dialled
    return { host: name, connectTo: address && { port: defaultPort, ...address } }
  })
}

/** A database rejects the tokens of another provider, with an error that does not name the cause. */
function rejectOtherProvider(host: string, provider: HostedProvider | 'custom'): void {
  const other = providerOfDomain(host)
  if (provider === 'custom' || other === undefined || other === provider) return
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    `"host" must not be ${host}: ${LOGIN_FUNCTIONS[provider]}() cannot log in there`,
    {
      hint: `Use ${LOGIN_FUNCTIONS[other]}(), or loginFromUrl(), which recognises the provider by the host.`,
    },
  )
}

const LOGIN_FUNCTIONS: Readonly<Record<HostedProvider, string>> = {
  'aurora-dsql': 'auroraDsql',
  rds: 'rds',
  entra: 'entra',
  'cloud-sql': 'cloudSql',
  redshift: 'redshift',
}

/** What to do with an option of a client or of a signer among the options of a login. */
const FOREIGN_OPTIONS: Readonly<Record<string, string>> = {
  password: 'Remove it: the login gets a token instead.',
  ssl: 'TLS is always on and verified. Set a certificate authority as tls: { ca }.',
  negotiation: 'Set it as tls: { negotiation }.',
  sslnegotiation: 'Set it as tls: { negotiation }.',
  sslmode: 'TLS is always on and verified. Set a certificate authority as tls: { ca }.',
  application_name:
    "Set startupParameters: { application_name: '…' }, or set it in the client's options.",
  statement_timeout:
    "Set startupParameters: { statement_timeout }, or set it in the client's options.",
  options: "Set each parameter in startupParameters, such as { search_path: '…' }.",
  max: "Set it in the client's options: it belongs to the pool.",
  min: "Set it in the client's options: it belongs to the pool.",
  pool: "Set it in the client's options.",
  hostname: 'The option is called "host".',
  dbname: 'The option is called "database".',
  url: 'Pass the URL to loginFromUrl().',
  connectionString: 'Pass the URL to loginFromUrl().',
  expiresIn: 'Some logins have "tokenDurationSecs" instead.',
}

/** Checks the options of a login function. */
export function checkLoginOptions<C extends Parameters<typeof checkOptions>[1]>(
  given: unknown,
  checks: C,
): Checked<C> {
  return checkOptions(given, checks, '', FOREIGN_OPTIONS)
}

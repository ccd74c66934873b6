/** Creates logins from a URL or the environment. The provider is recognised by the host name. */
import { PgIamError } from './errors.js'
import { type Login, loginCheck } from './login.js'
import {
  type Environment,
  invalidOption,
  isPlainObject,
  presentIn,
  withoutUndefined,
} from './options/check.js'
import { connectionUrlOptions } from './options/connection-url.js'
import { type AuroraDsqlOptions, createAuroraDsql } from './providers/aurora-dsql.js'
import {
  type CloudSqlOptions,
  createCloudSql,
  refuseInstanceName,
} from './providers/cloud-sql/cloud-sql.js'
import { createEntra, type EntraOptions } from './providers/entra/entra.js'
import { type HostedProvider, providerOfHost } from './providers/host-names.js'
import { createRds, type RdsOptions } from './providers/rds/rds.js'
import { createRedshift, type RedshiftOptions } from './providers/redshift/redshift.js'

/** Options in addition to a URL or an environment: those of the host's provider. */
export type LoginFromOptions =
  AuroraDsqlOptions | RdsOptions | EntraOptions | CloudSqlOptions | RedshiftOptions

/** A login or its URL. Every adapter accepts both. */
export type LoginOrUrl = Login | string | URL

/** The login passed to an adapter. Throws as {@link loginFromUrl}, and `ERR_OPTION_INVALID` for a value that is neither login nor URL. */
export function loginOf(given: LoginOrUrl, name = 'login'): Login {
  return typeof given === 'string' || given instanceof URL
    ? loginFromUrl(given)
    : loginCheck(given, name)
}

/**
 * Returns a login for `postgres://user@host:port/database`, with the provider recognised by the host name. Precedence: `options`, URL,
 * environment.
 *
 * URL parameters of libpq, PostgreSQL and other clients are either applied or rejected by name; docs/urls.md lists them. A password in the
 * URL is rejected, and so is an `sslmode` or `ssl` that would weaken TLS.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError as the provider's own function, and `ERR_OPTION_INVALID` if no provider matches the host name.
 */
export function loginFromUrl(url: string | URL, options: LoginFromOptions = {}): Login {
  if (!isPlainObject(options as unknown)) throw invalidOption('options', 'an object', options)
  const { given, env } = withUrl(url, options, process.env)
  return createForHost(given, env)
}

/**
 * The options of a URL and those given beside it, and the environment without the variables that the URL overrides. The provider's function
 * checks the result.
 */
function withUrl(
  url: string | URL,
  options: LoginFromOptions,
  environment: Environment,
): { given: LoginFromOptions; env: Environment } {
  const {
    tls,
    startupParameters,
    fallbackApplicationName,
    settled = [],
    ...fromUrl
  } = connectionUrlOptions(url)
  const env = without(environment, settled)
  const named =
    fallbackApplicationName === undefined || presentIn(env, 'PGAPPNAME') !== undefined
      ? startupParameters
      : { application_name: fallbackApplicationName, ...startupParameters }
  const { user, username, host } = options
  const given: Record<string, unknown> = {
    ...fromUrl,
    ...withoutUndefined(options),
    ...(tls === undefined ? {} : { tls: merged(tls, options.tls) }),
    ...(named === undefined ? {} : { startupParameters: merged(named, options.startupParameters) }),
  }
  // An explicit user, under either name, overrides the URL's. An address in the URL belongs to the URL's host only.
  if (username !== undefined && user === undefined) delete given['user']
  if (host !== undefined && options.connectTo === undefined) delete given['connectTo']
  return { given: given as LoginFromOptions, env }
}

/** Removes the variables that the URL overrides. Their values are then not checked. */
function without(env: Environment, names: readonly string[]): Environment {
  if (names.length === 0) return env
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)))
}

/**
 * Returns a login made from the environment: `PGHOST`, `PGPORT`, `PGDATABASE`, `PGUSER`, `PGSSLROOTCERT`, `AWS_REGION`, `AWS_PROFILE`, with
 * the provider recognised by the host name. `options` override the environment.
 *
 * Exported from `'pg-iam'`.
 *
 * @param env default `process.env`
 * @throws PgIamError as the provider's own function, and `ERR_OPTION_INVALID` if no provider matches the host name.
 */
export function loginFromEnv(
  options: LoginFromOptions = {},
  env: Environment = process.env,
): Login {
  if (!isPlainObject(options as unknown)) throw invalidOption('options', 'an object', options)
  if (!isPlainObject(env)) throw invalidOption('env', 'an object such as process.env', env)
  if ('PGHOST' in options) {
    throw new PgIamError('ERR_OPTION_INVALID', '"options" must not be an environment', {
      hint: 'The environment is the second argument: loginFromEnv({}, env).',
    })
  }
  return createForHost(withoutUndefined(options), env)
}

/** What the command line knows about a database. */
export interface LoginSources {
  url?: string
  /** The provider of a host name of one's own. Default: that of the host name. */
  provider?: HostedProvider
  /** Options that take precedence over the URL. */
  options: object
  /** Further options, if the provider is that of AWS tokens that pg-iam can sign itself: Aurora DSQL or RDS. */
  signerOptions?: object
  env: Environment
}

/**
 * Creates the login of the command line, as `loginFromUrl` and `loginFromEnv` do, but with the provider's own function if it is named.
 *
 * @throws PgIamError as these do
 */
export function loginFromSources({
  url,
  provider,
  options,
  signerOptions,
  env: environment,
}: LoginSources): Login {
  const { given, env } =
    url === undefined
      ? { given: withoutUndefined(options), env: environment }
      : withUrl(url, options as LoginFromOptions, environment)
  const known = provider ?? hostedProviderOf(firstHost(given, env))
  const isSigned = known === 'aurora-dsql' || known === 'rds'
  const all = isSigned ? { ...signerOptions, ...given } : given
  return provider === undefined
    ? createForHost(all as LoginFromOptions, env)
    : PROVIDERS[provider].create(all, env)
}

function hostedProviderOf(host: unknown): HostedProvider | undefined {
  return providerOfHost(normalName(host))
}

function normalName(host: unknown): string {
  return typeof host === 'string' ? host.toLowerCase().replace(/\.$/, '') : ''
}

function firstHost(options: { host?: unknown }, env: Environment): unknown {
  const given = options.host ?? env['PGHOST']?.split(',')
  return Array.isArray(given) ? given[0] : given
}

function createForHost(options: LoginFromOptions, env: Environment): Login {
  const host = firstHost(options, env)
  if (host === undefined || host === '') {
    throw new PgIamError('ERR_OPTION_INVALID', '"host" must be given', {
      hint: 'Give the host in the URL or in the options, or set PGHOST.',
    })
  }
  const name = normalName(host)
  const provider = providerOfHost(name)
  if (provider !== undefined) return PROVIDERS[provider].create(options, env)
  refuseInstanceName(name, 'host')
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    '"host" must be an endpoint name of a known provider',
    {
      hint: `${Object.values(PROVIDERS)
        .map(({ hostForm }) => hostForm)
        .join('; ')}. For a custom host name, call the provider's own function.`,
    },
  )
}

/** A value that is not an object is passed on unchanged, for the provider's check to reject. */
function merged(fromUrl: object, given: unknown): unknown {
  if (given === undefined) return fromUrl
  return isPlainObject(given) ? { ...fromUrl, ...withoutUndefined(given) } : given
}

/** The providers that the command line can name. */
export const PROVIDER_NAMES = ['aurora-dsql', 'rds', 'redshift', 'entra', 'cloud-sql'] as const

/** How the host names of each provider look, for the hint of an error, and the function that creates and checks the login. */
const PROVIDERS: Readonly<Record<HostedProvider, Provider>> = {
  'aurora-dsql': { hostForm: 'Aurora DSQL: CLUSTER.dsql.REGION.on.aws', create: createAuroraDsql },
  rds: { hostForm: 'RDS and Aurora: NAME.HASH.REGION.rds.amazonaws.com', create: createRds },
  entra: { hostForm: 'Azure: NAME.postgres.database.azure.com', create: createEntra },
  'cloud-sql': { hostForm: 'Cloud SQL: ID.LABEL.REGION.sql.goog', create: createCloudSql },
  redshift: {
    hostForm:
      'Redshift: CLUSTER.ID.REGION.redshift.amazonaws.com, WORKGROUP.ACCOUNT.REGION.redshift-serverless.amazonaws.com',
    create: createRedshift,
  },
}

interface Provider {
  readonly hostForm: string
  create(options: object, env: Environment): Login
}

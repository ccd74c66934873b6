/** Logins from a URL or from the environment, for the provider that the host name shows. */
import { PgIamError } from './errors.js'
import type { Login } from './login.js'
import { isPlainObject, invalidOption } from './options/check.js'
import type { Environment } from './options/common-options.js'
import { connectionUrlOptions } from './options/connection-url.js'
import type { AuroraDsqlOptions } from './providers/aurora-dsql/aurora-dsql.js'
import type { CloudSqlOptions } from './providers/cloud-sql/cloud-sql.js'
import type { EntraOptions } from './providers/entra/entra.js'
import { PROVIDERS } from './providers/providers.js'
import type { RedshiftOptions } from './providers/redshift/redshift.js'
import type { RdsOptions } from './providers/rds/rds.js'

/** Options beside a URL or an environment: those of the provider that the host shows. */
export type LoginFromOptions =
  AuroraDsqlOptions | RdsOptions | EntraOptions | CloudSqlOptions | RedshiftOptions

/**
 * Returns a login for `postgres://user@host:port/database`, with the provider that the host name shows. `options` beat the
 * URL, and the URL beats the environment.
 *
 * A password in the URL, and an `sslmode` or `ssl` that would weaken TLS, are refused.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError as the provider's own function, and `ERR_OPTION_INVALID` where no provider has such a host name.
 */
export function loginFromUrl(url: string | URL, options: LoginFromOptions = {}): Login {
  if (!isPlainObject(options as unknown)) throw invalidOption('options', 'an object', options)
  const { tls, ...fromUrl } = connectionUrlOptions(url)
  const { user, username } = options
  const given: Record<string, unknown> = {
    ...fromUrl,
    ...withoutUndefined(options),
    ...(tls === undefined ? {} : { tls: joinedTls(tls, options.tls) }),
  }
  // Under either of its names, an explicit user beats the URL's.
  if (username !== undefined && user === undefined) delete given['user']
  return createForHost(given as LoginFromOptions, process.env)
}

/**
 * Returns a login made from the environment: `PGHOST`, `PGPORT`, `PGDATABASE`, `PGUSER`, `PGSSLROOTCERT`, `AWS_REGION`,
 * `AWS_PROFILE`, with the provider that the host name shows. `options` beat the environment.
 *
 * Exported from `'pg-iam'`.
 *
 * @param env default `process.env`
 * @throws PgIamError as the provider's own function, and `ERR_OPTION_INVALID` where no provider has such a host name.
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

function createForHost(options: LoginFromOptions, env: Environment): Login {
  const given = options.host ?? env['PGHOST']
  const host: unknown = Array.isArray(given) ? given[0] : given
  if (host === undefined || host === '') {
    throw new PgIamError('ERR_OPTION_INVALID', '"host" must be given', {
      hint: 'Name the host in the URL or in the options, or set PGHOST.',
    })
  }
  const name = typeof host === 'string' ? host.toLowerCase().replace(/\.$/, '') : ''
  const provider = PROVIDERS.find(({ isHost }) => isHost(name))
  if (provider !== undefined) return provider.create(options, env)
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    '"host" must be an endpoint name of a known provider',
    {
      hint: `${PROVIDERS.map(({ hostForm }) => hostForm).join('; ')}. For another name of such a database use the provider's own function.`,
    },
  )
}

/** What is no object is left to the provider's check, which says what is wrong with it. */
function joinedTls(fromUrl: object, given: unknown): unknown {
  if (given === undefined) return fromUrl
  return isPlainObject(given) ? { ...fromUrl, ...withoutUndefined(given) } : given
}

function withoutUndefined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

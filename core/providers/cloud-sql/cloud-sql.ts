/** Logins to Google Cloud SQL for PostgreSQL. */
import { createLogin, type Login } from '../../login.js'
import { PgIamError } from '../../errors.js'
import {
  type Check,
  type Checked,
  type Environment,
  hostName,
  invalidOption,
  isIpAddress,
  mapNonEmpty,
  oneOrMore,
} from '../../options/check.js'
import {
  checkLoginOptions,
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
  type CommonSettings,
} from '../../options/common-options.js'
import type { TlsOptions } from '../../tls.js'
import { type Clock } from '../../tokens/token-source.js'
import {
  applicationDefaultCredentials,
  cloudSqlTokenIssuer,
  databaseUser,
  explainRefusal,
  explainUntrusted,
  googleCredentials,
  type GoogleCredentials,
  type GoogleCredentialsProvider,
} from './token.js'

// The connection name of an instance, for TLS.

/**
 * Checks `PROJECT:REGION:INSTANCE` (a project may be `DOMAIN:PROJECT`) and returns `PROJECT:INSTANCE`: the common name in the server
 * certificate of an instance with its own CA. That certificate has no host name. Google's connectors verify the same:
 * https://github.com/GoogleCloudPlatform/cloud-sql-nodejs-connector/blob/main/src/socket.ts
 */
const instanceName: Check<string> = (value, name) => {
  const [, project, instance] = typeof value === 'string' ? (CONNECTION_NAME.exec(value) ?? []) : []
  if (project === undefined || instance === undefined)
    throw invalidOption(name, 'a connection name, PROJECT:REGION:INSTANCE', value)
  return `${project}:${instance}`
}

const CONNECTION_NAME = /^((?:[a-z0-9.-]+:)?[a-z][a-z0-9-]*):[a-z0-9-]+:([a-z][a-z0-9-]*)$/

/**
 * Throws `ERR_OPTION_INVALID` for an instance's connection name in place of its address, also in the form of the socket path of Google's
 * runtimes and Auth Proxy.
 */
export function refuseInstanceName(host: unknown, name: string): void {
  if (typeof host !== 'string') return
  const connectionName = host.replace(/^\/cloudsql\//, '')
  if (!CONNECTION_NAME.test(connectionName)) return
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" must be the IP address or the DNS name of the instance, got its connection name`,
    {
      hint: `Give cloudSql() the connection name as "instance", and the address as "host": { host: "10.0.0.3", instance: "${connectionName}" }. A token is never sent over a Unix-domain socket, since it has no TLS.`,
    },
  )
}

// The login function.

export interface CloudSqlOptions extends CommonOptions {
  /**
   * A `GoogleAuth` or any auth client of `google-auth-library`, for the scope `https://www.googleapis.com/auth/sqlservice.login`, or a
   * function that returns one. Default: the application default credentials.
   */
  credentials?: GoogleCredentials | GoogleCredentialsProvider
  /**
   * The connection name, `PROJECT:REGION:INSTANCE`, of an instance with its own CA: its certificate has this name instead of a host name.
   * For one host only.
   */
  instance?: string
}

/**
 * Returns a login to a directly reachable Cloud SQL for PostgreSQL instance, with a Google Cloud access token as the password, over
 * verified TLS.
 *
 * One token is reused for all connections until it nears its expiry. A token that the instance rejects is replaced, at most once a minute.
 * `user` is an e-mail address; the `.gserviceaccount.com` of a service account is removed, as Cloud SQL requires. Default: the e-mail
 * address of the credentials (`login.user`, from the first token on). Server certificates of Cloud SQL are not signed by a CA that Node
 * ships: give `tls: { ca }`, and for an IP address also `instance`. Instances that require client certificates need Google's connector or
 * Auth Proxy. See https://cloud.google.com/sql/docs/postgres/iam-logins and https://cloud.google.com/sql/docs/postgres/authorize-ssl
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options. The login's `token()` rejects
 * with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`, `ERR_TOKEN_INVALID` (also if the account of the
 * token cannot be determined) or `ERR_PEER_MISSING`.
 */
export function cloudSql(options: CloudSqlOptions = {}): Login {
  return createCloudSql(options, process.env)
}

/** The same with environment and clock as parameters. */
export function createCloudSql(given: CloudSqlOptions, env: Environment, clock?: Clock): Login {
  const options = checkLoginOptions(given, CHECKS)
  if (options.host === undefined) refuseInstanceName(env['PGHOST'], 'PGHOST')
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: Infinity,
    hostHint: 'the IP address or the DNS name of the instance',
    provider: 'cloud-sql',
  })
  const user = common.user === undefined ? undefined : databaseUser(common.user)
  const { credentials } = options
  const issueToken = cloudSqlTokenIssuer({
    credentials:
      credentials === undefined
        ? applicationDefaultCredentials
        : typeof credentials === 'function'
          ? credentials
          : () => credentials,
    user,
    counters: common.counters,
  })
  return createLogin(
    {
      ...common,
      provider: 'cloud-sql',
      hosts: mapNonEmpty(common.targets, (target) => ({ ...target, issueToken })),
      user,
      tls: tlsOf(options, common),
      tokenVerb: 'get',
      explainRefusal,
      explainFailure: explainUntrusted,
    },
    clock,
  )
}

const CHECKS = {
  ...COMMON_CHECKS,
  host: oneOrMore<string>((value, name) => {
    refuseInstanceName(value, name)
    return hostName(value, name)
  }),
  credentials: googleCredentials,
  instance: instanceName,
} as const

/** No certificate of Cloud SQL contains an IP address. `tls.servername` allows for exceptions. */
function tlsOf({ instance }: Checked<typeof CHECKS>, { tls, targets }: CommonSettings): TlsOptions {
  if (instance !== undefined && (tls.servername !== undefined || targets.length > 1)) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"instance" must not be given ${tls.servername === undefined ? 'for several hosts' : 'together with "tls.servername"'}`,
    )
  }
  if (instance !== undefined) return { ...tls, servername: instance }
  if (tls.servername === undefined && targets.some(({ host }) => isIpAddress(host))) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"instance" or "tls.servername" must be given if "host" is an IP address',
      {
        hint: 'The certificate of an instance has its connection name (instance: "PROJECT:REGION:INSTANCE") or its DNS name (tls: { servername }), never its address.',
      },
    )
  }
  return tls
}

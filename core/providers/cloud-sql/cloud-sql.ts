/** Logins for Cloud SQL. */
import { createLogin, type Login } from '../../login.js'
import { PgIamError } from '../../errors.js'
import {
  type Check,
  type Checked,
  checkOptions,
  type Environment,
  hostName,
  invalidOption,
  isIpAddress,
  mapNonEmpty,
  oneOrMore,
} from '../../options/check.js'
import {
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
  type CommonSettings,
} from '../../options/common-options.js'
import type { TlsOptions } from '../../tls.js'
import { type Clock, createTokenInvalidation } from '../../tokens/token-source.js'
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

/**
 * Tells whether a name is one that Cloud SQL gives an instance: `ID.LABEL.REGION.sql.goog`, and `….sql-psa.goog` for private
 * services access. Instances without one are known by their IP addresses, which are nobody's in particular.
 * See https://cloud.google.com/sql/docs/postgres/configure-dns
 */
export function isCloudSqlHost(host: string): boolean {
  return /^([a-z0-9-]+\.)+sql(-psa)?\.goog$/.test(host)
}

// The connection name of a Cloud SQL instance, as far as TLS has to do with it.

/**
 * Checks `PROJECT:REGION:INSTANCE` (a project may be `DOMAIN:PROJECT`) and returns `PROJECT:INSTANCE`: the common name in the
 * server certificate of an instance with a certificate authority of its own, which holds no host name. Google's connectors
 * verify the same:
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
 * Refuses what is the name of an instance in the place of its address, also as the path of the socket that Google's runtimes and its
 * Auth Proxy make for it. Throws `ERR_OPTION_INVALID`.
 */
export function refuseInstanceName(host: unknown, name: string): void {
  if (typeof host !== 'string') return
  const connectionName = host.replace(/^\/cloudsql\//, '')
  if (!CONNECTION_NAME.test(connectionName)) return
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" must be the IP address or the DNS name of the instance, got its connection name`,
    {
      hint: `Give cloudSql() the connection name as "instance", and the address as "host": { host: "10.0.0.3", instance: "${connectionName}" }. A Unix-domain socket has no TLS, so no token is sent over one.`,
    },
  )
}

// Logins to Google Cloud SQL for PostgreSQL with IAM.

export interface CloudSqlOptions extends CommonOptions {
  /**
   * A `GoogleAuth` or any auth client of `google-auth-library`, for the scope
   * `https://www.googleapis.com/auth/sqlservice.login`, or a function that returns one. Default: the application default
   * credentials.
   */
  credentials?: GoogleCredentials | GoogleCredentialsProvider
  /**
   * The connection name, `PROJECT:REGION:INSTANCE`, of an instance with a certificate authority of its own: its certificate
   * holds this and no host name. For one host only.
   */
  instance?: string
}

/**
 * Returns a login to a Cloud SQL for PostgreSQL instance that can be reached directly, with an access token of Google Cloud as the
 * password, over verified TLS.
 *
 * One token serves all connections until it nears its end; one that the instance refuses is not used again, and another is asked
 * for, once a minute at the most. `user` is an e-mail address; the `.gserviceaccount.com` of a service account is left out, as Cloud
 * SQL wants it. Not given, it is that of the credentials (`login.user`, from the first token on). No server certificate of Cloud SQL
 * is signed by an authority that ships with Node: give `tls: { ca }`, and for an IP address `instance`, too. Instances that ask for
 * client certificates need Google's connector or Auth Proxy.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins and https://cloud.google.com/sql/docs/postgres/authorize-ssl
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, at once, for options that cannot work.
 * The login's `token()` rejects with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`,
 * `ERR_TOKEN_INVALID` (also where nobody knows whose the token is) or `ERR_PEER_MISSING`.
 */
export function cloudSql(options: CloudSqlOptions = {}): Login {
  return createCloudSql(options, process.env)
}

/** The same with environment and clock as parameters. */
export function createCloudSql(given: CloudSqlOptions, env: Environment, clock?: Clock): Login {
  const options = checkOptions(given, CHECKS)
  if (options.host === undefined) refuseInstanceName(env['PGHOST'], 'PGHOST')
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: Infinity,
    hostHint: 'the IP address or the DNS name of the instance',
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
      ...(common.reuseTokenSecs === 0 ? {} : { credentials: createTokenInvalidation(clock) }),
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

/** An IP address is in no certificate of Cloud SQL; whoever knows better names it as `tls.servername`. */
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
      '"instance" or "tls.servername" must be given where "host" is an IP address',
      {
        hint: 'The certificate of an instance holds its connection name (instance: "PROJECT:REGION:INSTANCE") or its DNS name (tls: { servername }), never its address.',
      },
    )
  }
  return tls
}

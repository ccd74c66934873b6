/** Logins to Amazon Aurora DSQL. */
import { createLogin, type HostSettings } from '../create-login.js'
import { PgIamError } from '../errors.js'
import type { Login } from '../login.js'
import { checkOptions, integerWithin, matching, text, type Checked } from '../options/check.js'
import {
  COMMON_CHECKS,
  environmentDefaults,
  oneName,
  type CommonOptions,
  type Environment,
} from '../options/common-options.js'
import { createLoginCounters } from '../tokens/login-counters.js'
import type { Clock } from '../tokens/token-source.js'
import {
  createCredentialsSource,
  type AwsCredentials,
  type AwsCredentialsProvider,
} from './aws/credentials.js'
import {
  assumeRole,
  credentials,
  credentialsProvider,
  provider,
  refuseTwoSources,
  type AssumeRoleOptions,
} from './aws/credentials-provider.js'
import { answeringWithin } from './aws/provider-timeout.js'
import { dsqlEndpoint, dsqlRegion, isClusterId } from './aurora-dsql-host.js'
import { dsqlTokenIssuer } from './aurora-dsql-token.js'

export interface AuroraDsqlOptions extends CommonOptions {
  /** The region of the cluster. Default: the one in `host`, else `AWS_REGION` or `AWS_DEFAULT_REGION`. */
  region?: string
  /** AWS credentials, or a function that gives them. Default: the AWS SDK's chain of providers. */
  credentials?: AwsCredentials | AwsCredentialsProvider
  /** Another name for `credentials`, as in AWS's own connectors. */
  customCredentialsProvider?: AwsCredentialsProvider
  /** The profile of the shared AWS files that the chain reads. Default `AWS_PROFILE`. */
  profile?: string
  /** A role to take on with the credentials. */
  assumeRole?: AssumeRoleOptions
  /** Life of a token, in seconds, from 1 to 604,800 (one week, AWS's limit). Default 900. */
  tokenDurationSecs?: number
}

/**
 * Returns a login to an Aurora DSQL cluster: a new token for each physical connection, over verified TLS.
 *
 * `host` is an endpoint name, or a cluster ID with `region`, or a list of them: the endpoints of a multi-Region cluster. `user` must be given; `admin` signs for `DbConnectAdmin`, every
 * other user for `DbConnect`. What is not given comes from the environment, as libpq and the AWS SDK name it. Nothing is
 * loaded, looked up or signed before the first connection.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, at once, for options that cannot work.
 * The login's `token()` rejects with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`,
 * `ERR_TOKEN_INVALID` or `ERR_PEER_MISSING`.
 */
export function auroraDsql(options: AuroraDsqlOptions = {}): Login {
  return createAuroraDsql(options, process.env)
}

/** The same with its surroundings as parameters. */
export function createAuroraDsql(given: AuroraDsqlOptions, env: Environment, clock?: Clock): Login {
  const options = checkOptions(given, CHECKS)
  refuseTwoSources(options)
  const givenUser = oneName({ user: options.user, username: options.username }, 'user', 'username')
  const defaults = environmentDefaults(env, { ...options, user: givenUser, ca: options.tls?.ca })
  const user = userOf(givenUser ?? defaults.user)
  const listeningPort = options.port ?? defaults.port ?? 5432
  const hosts = hostsOf(options, defaults.host, listeningPort, env)
  const durationSecs = options.tokenDurationSecs ?? 900
  const counters = createLoginCounters()

  const source = credentialsProvider({
    credentials: options.credentials ?? options.customCredentialsProvider,
    profile: options.profile ?? presentIn(env, 'AWS_PROFILE'),
    assumeRole: options.assumeRole,
    region: hosts[0].region,
  })
  const tokenTimeoutMs = options.tokenTimeoutMs ?? 10_000
  const fresh = createCredentialsSource(
    {
      ...source,
      provider: answeringWithin(source.provider, tokenTimeoutMs),
      tokenDurationMs: durationSecs * 1000,
      counters,
    },
    clock,
  )

  return createLogin(
    {
      provider: 'aurora-dsql',
      hosts: hosts.map((place) => ({
        ...place,
        issueToken: dsqlTokenIssuer({ ...place, user, durationSecs, credentials: fresh }),
      })) as [HostSettings, ...HostSettings[]],
      port: listeningPort,
      database: options.database ?? defaults.database ?? 'postgres',
      user,
      tls: { ...(defaults.ca === undefined ? {} : { ca: defaults.ca }), ...options.tls },
      // Aurora DSQL ends every session at 60 minutes: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
      maxLifetimeSecs: options.maxLifetimeSecs ?? 3_300,
      reuseTokenSecs: options.reuseTokenSecs ?? 0,
      tokenTimeoutMs,
      connectTimeoutMs: options.connectTimeoutMs ?? 30_000,
      connectRate: options.connectRate,
      retry: options.retry,
      counters,
      credentials: fresh,
    },
    clock,
  )
}

const regionName = matching(/^[a-z]{2,}(-[a-z0-9]+)+$/, 'the name of an AWS region')

const CHECKS = {
  ...COMMON_CHECKS,
  region: regionName,
  credentials,
  customCredentialsProvider: provider,
  profile: text,
  assumeRole,
  tokenDurationSecs: integerWithin(1, 604_800, 'seconds'),
} as const

type Place = Omit<HostSettings, 'issueToken'>

function hostsOf(
  { host, region, connectTo, tls }: AuroraDsqlChecked,
  hostOfEnvironment: string | undefined,
  listeningPort: number,
  env: Environment,
): [Place, ...Place[]] {
  const given =
    host ?? (hostOfEnvironment === undefined ? undefined : ([hostOfEnvironment] as const))
  if (given === undefined) {
    throw new PgIamError('ERR_OPTION_INVALID', '"host" must be given', {
      hint: 'Give the endpoint name of the cluster, or set PGHOST.',
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
  const places = given.map((name, index): Place => {
    const endpoint = isClusterId(name) ? dsqlEndpoint(name, region ?? regionFrom(env)) : name
    const address = connectTo?.[index]
    return {
      host: endpoint,
      region: regionOf(endpoint, region, env),
      connectTo: address && { port: listeningPort, ...address },
    }
  })
  return places as [Place, ...Place[]]
}

/** A region that was given must agree with the host: a token for another region is refused, much later and without a reason. */
function regionOf(host: string, given: string | undefined, env: Environment): string {
  const ofHost = dsqlRegion(host)
  if (given !== undefined && ofHost !== undefined && given !== ofHost) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"region" must be "${ofHost}", as "host" says, got "${given}"`,
    )
  }
  const region = given ?? ofHost ?? regionFrom(env)
  if (region === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"region" must be given where "host" does not name it',
      { hint: 'Give "region", or set AWS_REGION.' },
    )
  }
  return region
}

type AuroraDsqlChecked = Checked<typeof CHECKS>

function userOf(user: string | undefined): string {
  if (user === undefined) {
    throw new PgIamError('ERR_OPTION_INVALID', '"user" must be given', {
      hint: 'Give the database role of the application, or set PGUSER. "admin" is never taken by default: it may do everything.',
    })
  }
  return user
}

function regionFrom(env: Environment): string | undefined {
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION']) {
    const region = presentIn(env, name)
    if (region !== undefined) return regionName(region, name)
  }
  return undefined
}

function presentIn(env: Environment, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name]
}

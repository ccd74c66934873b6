/** Logins to Amazon Aurora DSQL. */
import type { Refusal } from '../connection/authenticate.js'
import type { Address } from '../connection/log-in.js'
import { createLogin, type Login } from '../login.js'
import { PgIamError } from '../errors.js'
import {
  type Check,
  type Environment,
  integerWithin,
  invalidOption,
  mapNonEmpty,
} from '../options/check.js'
import {
  checkLoginOptions,
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
  requiredUser,
} from '../options/common-options.js'
import type { Clock } from '../tokens/token-source.js'
import type { Token } from '../tokens/token.js'
import {
  amazonAuthorities,
  AWS_CHECKS,
  awsCredentials,
  type AwsOptions,
  awsRegion,
  awsRegionFrom,
  explainUntrustedAmazon,
} from './aws/aws-options.js'
import type { AwsCredentials } from './aws/credentials.js'
import { sdkTokenIssuer, SIGNER_CHECKS, signerError, type SignerOptions } from './aws/signer.js'
import { createPresigner } from './aws/sigv4.js'
import { dsqlRegion } from './host-names.js'

/** Whether a name is a cluster ID, 26 letters and digits: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/ */
export function isClusterId(name: string): boolean {
  return /^[a-z0-9]{26}$/.test(name)
}

/** The public endpoint name of a cluster. */
export function dsqlEndpoint(clusterId: string, region: string | undefined): string {
  if (region === undefined) {
    throw new PgIamError('ERR_OPTION_INVALID', '"region" must be given if "host" is a cluster ID', {
      hint: 'Give the endpoint name, CLUSTER.dsql.REGION.on.aws, or set "region" or AWS_REGION.',
    })
  }
  return `${clusterId}.dsql.${region}.on.aws`
}

// The cluster ID, which an AWS PrivateLink endpoint needs to route to the cluster.

interface ClusterIdSettings {
  /** The `clusterId` option. */
  clusterId: string | boolean | undefined
  host: string
  connectTo: Address | undefined
}

/**
 * The startup parameters with the cluster ID, or none. Aurora DSQL finds the cluster by the host name that is dialled. An interface
 * endpoint that is dialled by its own name needs `amzn-cluster-id`:
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html
 *
 * Throws `ERR_OPTION_CONFLICT` if the host is another cluster's, and `ERR_OPTION_INVALID` if no option names the cluster.
 */
function clusterIdParameters({
  clusterId,
  host,
  connectTo,
}: ClusterIdSettings): Readonly<Record<string, string>> {
  const isRequired = clusterId ?? (connectTo !== undefined && isInterfaceEndpoint(connectTo.host))
  if (isRequired === false) return {}
  const named = dsqlRegion(host) === undefined ? undefined : host.slice(0, host.indexOf('.'))
  const id = typeof clusterId === 'string' ? clusterId : named
  if (id === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"clusterId" must be the ID of the cluster if "host" does not contain it',
    )
  }
  if (named !== undefined && id !== named) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"clusterId" must be "${named}", as in "host", got "${id}"`,
    )
  }
  return { options: `-c amzn-cluster-id=${id}` }
}

/** The `clusterId` option. */
const clusterId: Check<string | boolean> = (value, name) => {
  if (typeof value === 'boolean' || (typeof value === 'string' && isClusterId(value))) return value
  throw invalidOption(name, 'a cluster ID of 26 letters and digits, true or false', value)
}

function isInterfaceEndpoint(host: string): boolean {
  return /\.vpce\.amazonaws\.com(\.cn)?$/.test(host)
}

// The login function.

/**
 * Returns the likely causes of a refusal. Aurora DSQL gives none: it refuses a missing permission with 08006, and a role that is not
 * granted with 28000, in the same words.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/authentication-authorization.html
 */
function explainRefusal({ message, user }: Refusal): string | undefined {
  if (!/unable to accept connection, access denied/i.test(message)) return undefined
  const action = user === 'admin' ? 'dsql:DbConnectAdmin' : 'dsql:DbConnect'
  const grant =
    user === 'admin'
      ? ''
      : ` Check that the role "${user}" exists, has LOGIN, and is granted to that identity: AWS IAM GRANT "${user}" TO 'arn:aws:iam::ACCOUNT:role/NAME'.`
  return `Check that the identity of the credentials may use ${action} on this cluster.${grant} Check that host and region are those of the cluster, that the credentials have not been revoked, and the clock of this machine.`
}

export interface AuroraDsqlOptions extends CommonOptions, AwsOptions, SignerOptions {
  /**
   * Sends the cluster ID as `amzn-cluster-id`, for an AWS PrivateLink endpoint that is dialled by its own name: `true`, or the ID if `host`
   * does not contain it. Default: `true` if `connectTo` is such a name (`….vpce.amazonaws.com`).
   */
  clusterId?: string | boolean
  /** Lifetime of a token, in seconds, from 1 to 604,800 (one week, AWS's limit). Default 900. */
  tokenDurationSecs?: number
}

/**
 * Returns a login to an Aurora DSQL cluster: a new token for each physical connection, over verified TLS.
 *
 * `host` is an endpoint name, or a cluster ID with `region`, or a list of them: the endpoints of a multi-Region cluster. `user` is
 * required; `admin` signs for `DbConnectAdmin`, every other user for `DbConnect`. Other options default to the environment variables of
 * libpq and the AWS SDK. Nothing is loaded, looked up or signed before the first connection.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options. The login's `token()` rejects
 * with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`, `ERR_TOKEN_INVALID`, or `ERR_PEER_MISSING` if a
 * package is not installed: `@aws-sdk/dsql-signer`, unless `signer` is `'built-in'`; `@aws-sdk/credential-providers`, if credentials are
 * neither given nor in the environment, or a role is assumed.
 */
export function auroraDsql(options: AuroraDsqlOptions = {}): Login {
  return createAuroraDsql(options, process.env)
}

/** The same with environment and clock as parameters. AWS's signer does not use the clock. */
export function createAuroraDsql(given: AuroraDsqlOptions, env: Environment, clock?: Clock): Login {
  const options = checkLoginOptions(given, CHECKS)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: 0,
    // Sessions end after 60 minutes: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
    maxLifetimeSecs: 3_300,
    hostHint: 'the endpoint name of the cluster',
    provider: 'aurora-dsql',
  })
  const user = requiredUser(
    common,
    'Give the database role of the application, or set PGUSER. "admin" is never the default, since it has all privileges.',
  )
  const targets = mapNonEmpty(common.targets, ({ host, connectTo }) => {
    const endpoint = isClusterId(host)
      ? dsqlEndpoint(host, options.region ?? awsRegionFrom(env))
      : host
    const region = awsRegion(dsqlRegion(endpoint), options.region, env)
    return { host: endpoint, region, connectTo }
  })
  const { tokenDurationSecs: durationSecs = 900, signer = 'aws-sdk' } = options
  const credentials = awsCredentials(
    { ...common, options, env, region: targets[0].region, tokenDurationMs: durationSecs * 1000 },
    clock,
  )
  const hosts = mapNonEmpty(targets, (target) => ({
    ...target,
    startupParameters: clusterIdParameters({ ...target, clusterId: options.clusterId }),
    issueToken: dsqlTokenIssuer({ ...target, user, durationSecs, credentials, signer }, clock),
  }))
  return createLogin(
    {
      ...common,
      // One round trip fewer. AWS's connectors for Go, Java, .NET, PHP and Ruby start TLS directly too.
      tls: { negotiation: 'direct', ...common.tls },
      provider: 'aurora-dsql',
      hosts,
      user,
      credentials,
      loadAuthorities: () => amazonAuthorities(env),
      explainRefusal,
      explainFailure: explainUntrustedAmazon,
    },
    clock,
  )
}

const CHECKS = {
  ...COMMON_CHECKS,
  ...AWS_CHECKS,
  ...SIGNER_CHECKS,
  clusterId,
  tokenDurationSecs: integerWithin(1, 604_800, 'seconds'),
} as const

// Tokens for Aurora DSQL.

interface DsqlTokenSettings {
  host: string
  region: string
  user: string
  durationSecs: number
  credentials: () => Promise<AwsCredentials>
  signer: 'aws-sdk' | 'built-in'
}

/**
 * Creates the function that signs a new token.
 *
 * @param clock only used by the built-in signer
 */
function dsqlTokenIssuer(
  { host, region, user, durationSecs, credentials, signer }: DsqlTokenSettings,
  clock?: Clock,
): () => Promise<Token> {
  // "admin" must log in with the action for administrators, and no other role may:
  // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html
  const isAdmin = user === 'admin'
  if (signer === 'aws-sdk') {
    return sdkTokenIssuer({
      provider: 'aurora-dsql',
      host,
      packageName: '@aws-sdk/dsql-signer',
      load: loadSigner,
      createSigner({ DsqlSigner }, current) {
        const settings = { hostname: host, region, expiresIn: durationSecs, credentials: current }
        const made = new DsqlSigner(settings)
        return isAdmin
          ? () => made.getDbConnectAdminAuthToken()
          : () => made.getDbConnectAuthToken()
      },
      credentials,
    })
  }
  const presign = createPresigner(
    {
      authority: host,
      service: 'dsql',
      region,
      parameters: { Action: isAdmin ? 'DbConnectAdmin' : 'DbConnect' },
      durationSecs,
    },
    clock,
  )
  return async () => presign(await credentials())
}

async function loadSigner(): Promise<typeof import('@aws-sdk/dsql-signer')> {
  try {
    return await import('@aws-sdk/dsql-signer')
  } catch (error) {
    throw signerError(error, '@aws-sdk/dsql-signer')
  }
}

/** Logins to Amazon Aurora DSQL. */
import { createLogin } from '../../create-login.js'
import type { Login } from '../../login.js'
import { mapNonEmpty } from '../../non-empty.js'
import { checkOptions, integerWithin } from '../../options/check.js'
import {
  COMMON_CHECKS,
  type CommonOptions,
  type Environment,
} from '../../options/common-options.js'
import type { Clock } from '../../tokens/token-source.js'
import { amazonAuthorities, explainUntrustedAmazon } from '../aws/authorities.js'
import {
  AWS_CHECKS,
  awsCredentials,
  awsRegion,
  awsRegionFrom,
  type AwsOptions,
} from '../aws/aws-options.js'
import { SIGNER_CHECKS, type SignerOptions } from '../aws/signer.js'
import { commonSettings, requiredUser } from '../common-settings.js'
import { clusterId, clusterIdParameters } from './cluster-id.js'
import { dsqlEndpoint, dsqlRegion, isClusterId } from './host.js'
import { dsqlTokenIssuer } from './token.js'

export interface AuroraDsqlOptions extends CommonOptions, AwsOptions, SignerOptions {
  /**
   * Sends the ID of the cluster as `amzn-cluster-id`, for an endpoint of AWS PrivateLink that is dialled by its own name: `true`, or
   * the ID where `host` does not name it. Default: `true` where `connectTo` is such a name (`….vpce.amazonaws.com`).
   */
  clusterId?: string | boolean
  /** Life of a token, in seconds, from 1 to 604,800 (one week, AWS's limit). Default 900. */
  tokenDurationSecs?: number
}

/**
 * Returns a login to an Aurora DSQL cluster: a new token for each physical connection, over verified TLS.
 *
 * `host` is an endpoint name, or a cluster ID with `region`, or a list of them: the endpoints of a multi-Region cluster. `user`
 * must be given; `admin` signs for `DbConnectAdmin`, every other user for `DbConnect`. What is not given comes from the environment,
 * as libpq and the AWS SDK name it. Nothing is loaded, looked up or signed before the first connection.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, at once, for options that cannot work.
 * The login's `token()` rejects with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`,
 * `ERR_TOKEN_INVALID`, or `ERR_PEER_MISSING` where a package is not installed: `@aws-sdk/dsql-signer`, unless `signer` is `'built-in'`;
 * `@aws-sdk/credential-providers`, where credentials are neither given nor in the environment, or a role is assumed.
 */
export function auroraDsql(options: AuroraDsqlOptions = {}): Login {
  return createAuroraDsql(options, process.env)
}

/** The same with its surroundings as parameters. The clock does not reach the signer of AWS, which reads the time itself. */
export function createAuroraDsql(given: AuroraDsqlOptions, env: Environment, clock?: Clock): Login {
  const options = checkOptions(given, CHECKS)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: 0,
    // Sessions end at 60 minutes: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
    maxLifetimeSecs: 3_300,
    hostHint: 'the endpoint name of the cluster',
  })
  const user = requiredUser(
    common,
    'Give the database role of the application, or set PGUSER. "admin" is never taken by default: it may do everything.',
  )
  const places = mapNonEmpty(common.places, ({ host, connectTo }) => {
    const endpoint = isClusterId(host)
      ? dsqlEndpoint(host, options.region ?? awsRegionFrom(env))
      : host
    const region = awsRegion(dsqlRegion(endpoint), options.region, env)
    return { host: endpoint, region, connectTo }
  })
  const { tokenDurationSecs: durationSecs = 900, signer = 'aws-sdk' } = options
  const credentials = awsCredentials(
    { ...common, options, env, region: places[0].region, tokenDurationMs: durationSecs * 1000 },
    clock,
  )
  const hosts = mapNonEmpty(places, (place) => ({
    ...place,
    startupParameters: clusterIdParameters({ ...place, clusterId: options.clusterId }),
    issueToken: dsqlTokenIssuer({ ...place, user, durationSecs, credentials, signer }, clock),
  }))
  return createLogin(
    {
      ...common,
      provider: 'aurora-dsql',
      hosts,
      user,
      credentials,
      loadAuthorities: () => amazonAuthorities(env),
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

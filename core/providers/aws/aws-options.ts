/** The options of providers that use AWS credentials: credentials and region. */
import { PgIamError } from '../../errors.js'
import type { Logger } from '../../events.js'
import {
  type Check,
  type Checked,
  matching,
  type NonEmpty,
  text,
  type Environment,
  presentIn,
} from '../../options/check.js'
import { cloudAuthorities, explainUntrusted } from '../../tls.js'
import type { Clock, LoginCounters } from '../../tokens/token-source.js'
import {
  answeringWithin,
  assumeRole,
  type AssumeRoleOptions,
  credentials,
  credentialsProvider,
  provider,
  refuseTwoSources,
} from './credentials-provider.js'
import {
  type AwsCredentials,
  type AwsCredentialsProvider,
  createCredentialsSource,
  type CredentialsSource,
} from './credentials.js'

export interface AwsOptions {
  /** The region of the database. Default: the one in `host`, else `AWS_REGION` or `AWS_DEFAULT_REGION`. */
  region?: string
  /** AWS credentials, or a function that returns them. Default: the AWS SDK's provider chain. */
  credentials?: AwsCredentials | AwsCredentialsProvider
  /** Alias of `credentials`, as in AWS's connectors. */
  customCredentialsProvider?: AwsCredentialsProvider
  /** The profile of the shared AWS files that the chain reads. Default `AWS_PROFILE`. */
  profile?: string
  /** A role to assume with the credentials, or several: each is assumed with the credentials of the previous one. */
  assumeRole?: AssumeRoleOptions | readonly AssumeRoleOptions[]
}

const regionName = matching(/^[a-z]{2,}(-[a-z0-9]+)+$/, 'the name of an AWS region')

export const AWS_CHECKS: {
  region: Check<string>
  credentials: Check<AwsCredentials | AwsCredentialsProvider>
  customCredentialsProvider: Check<AwsCredentialsProvider>
  profile: Check<string>
  assumeRole: Check<NonEmpty<AssumeRoleOptions>>
} = {
  region: regionName,
  credentials,
  customCredentialsProvider: provider,
  profile: text,
  assumeRole,
}

interface AwsCredentialsSettings {
  options: Checked<typeof AWS_CHECKS>
  env: Environment
  /** The region of STS, for a role; `undefined` leaves it to the SDK. */
  region: string | undefined
  /** The lifetime of what is signed with them. */
  tokenDurationMs: number
  tokenTimeoutMs: number
  counters: LoginCounters
  logger?: Logger | undefined
}

/** Returns the source of a login's credentials. Throws `ERR_OPTION_CONFLICT` if two sources are given. */
export function awsCredentials(
  {
    options,
    env,
    region,
    tokenDurationMs,
    tokenTimeoutMs,
    counters,
    logger,
  }: AwsCredentialsSettings,
  clock?: Clock,
): CredentialsSource {
  refuseTwoSources(options)
  const source = credentialsProvider({
    credentials: options.credentials ?? options.customCredentialsProvider,
    profile: options.profile ?? presentIn(env, 'AWS_PROFILE'),
    roles: options.assumeRole ?? [],
    region,
  })
  return createCredentialsSource(
    {
      ...source,
      provider: answeringWithin(source.provider, tokenTimeoutMs),
      tokenDurationMs,
      // Half of the time limit is reserved for the token, so that a slow refresh does not fail the connection.
      renewalTimeoutMs: tokenTimeoutMs / 2,
      counters,
      renewalFailed: (error) => warn(logger, error),
    },
    clock,
  )
}

function warn(logger: Logger | undefined, error: unknown): void {
  try {
    logger?.warn(
      'pg-iam: could not refresh AWS credentials; using the current ones until they expire',
      {
        error,
      },
    )
  } catch {
    // A failing logger must not fail the connection.
  }
}

/**
 * The region to sign for. A given region must agree with the one in the host name: the server rejects a token for another region, much
 * later and without a reason.
 */
export function awsRegion(
  ofHost: string | undefined,
  given: string | undefined,
  env: Environment,
): string {
  if (given !== undefined && ofHost !== undefined && given !== ofHost) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"region" must be "${ofHost}", as in "host", got "${given}"`,
    )
  }
  const region = given ?? ofHost ?? awsRegionFrom(env)
  if (region === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"region" must be given if "host" does not contain it',
      { hint: 'Give "region", or set AWS_REGION.' },
    )
  }
  return region
}

/** The region from the environment, by the variables of the AWS SDKs and the AWS CLI. */
export function awsRegionFrom(env: Environment): string | undefined {
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION']) {
    const region = presentIn(env, name)
    if (region !== undefined) return regionName(region, name)
  }
  return undefined
}

// Amazon's public CAs, which sign the certificates of Aurora DSQL, Redshift and RDS Proxy.

/** Resolves with the CAs to trust for their endpoints, as `cloudAuthorities` does. */
export async function amazonAuthorities(env: Environment): Promise<string | undefined> {
  const { AMAZON_ROOTS } = await import('./amazon-roots.js')
  return cloudAuthorities(AMAZON_ROOTS, env)
}

/** Returns a hint for an endpoint that is not trusted, or `undefined` for any other error. */
export function explainUntrustedAmazon(error: unknown, host: string): string | undefined {
  return explainUntrusted(error, host, "Amazon's (https://www.amazontrust.com/repository/)")
}

/** The options of the providers whose tokens AWS credentials sign: who asks, and in which region. */
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
  /** AWS credentials, or a function that gives them. Default: the AWS SDK's chain of providers. */
  credentials?: AwsCredentials | AwsCredentialsProvider
  /** Another name for `credentials`, as in AWS's own connectors. */
  customCredentialsProvider?: AwsCredentialsProvider
  /** The profile of the shared AWS files that the chain reads. Default `AWS_PROFILE`. */
  profile?: string
  /** A role to take on with the credentials, or several: each is taken on with the credentials of the one before it. */
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
  /** That of STS, for a role; `undefined` leaves it to the SDK. */
  region: string | undefined
  /** How long what they sign is to live. */
  tokenDurationMs: number
  tokenTimeoutMs: number
  counters: LoginCounters
  logger?: Logger | undefined
}

/** Returns the source of the credentials of a login. Throws `ERR_OPTION_CONFLICT` where two sources were given. */
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
      // The other half is for the token: a renewal that stalls must not cost the connection its time.
      renewalTimeoutMs: tokenTimeoutMs / 2,
      counters,
      renewalFailed: (error) => warn(logger, error),
    },
    clock,
  )
}

function warn(logger: Logger | undefined, error: unknown): void {
  try {
    logger?.warn('pg-iam: AWS credentials could not be renewed, those that are there are used on', {
      error,
    })
  } catch {
    // A connection does not fail because nobody could write of it.
  }
}

/**
 * The region to sign for. One that was given must agree with the one in the host name: a token for another region is refused,
 * much later and without a reason.
 */
export function awsRegion(
  ofHost: string | undefined,
  given: string | undefined,
  env: Environment,
): string {
  if (given !== undefined && ofHost !== undefined && given !== ofHost) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"region" must be "${ofHost}", as "host" says, got "${given}"`,
    )
  }
  const region = given ?? ofHost ?? awsRegionFrom(env)
  if (region === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"region" must be given where "host" does not name it',
      { hint: 'Give "region", or set AWS_REGION.' },
    )
  }
  return region
}

/** The region of the environment, under the names that the AWS SDKs and the AWS CLI read. */
export function awsRegionFrom(env: Environment): string | undefined {
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION']) {
    const region = presentIn(env, name)
    if (region !== undefined) return regionName(region, name)
  }
  return undefined
}

// Trust in Amazon's public certificate authorities, which sign for Aurora DSQL, Redshift and RDS Proxy.

/** Resolves with what to trust for their endpoints, as `cloudAuthorities` does. */
export async function amazonAuthorities(env: Environment): Promise<string | undefined> {
  const { AMAZON_ROOTS } = await import('./amazon-roots.js')
  return cloudAuthorities(AMAZON_ROOTS, env)
}

/** Returns what to do about an endpoint that is not trusted, or `undefined` for another kind of error. */
export function explainUntrustedAmazon(error: unknown, host: string): string | undefined {
  return explainUntrusted(error, host, "Amazon's (https://www.amazontrust.com/repository/)")
}

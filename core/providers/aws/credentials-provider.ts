/** Where AWS credentials come from: what the caller gave, else the SDK's default chain; then, if wanted, a role. */
import { PgIamError } from '../../errors.js'
import { invalidSecret, isPlainObject, secretText, type Check } from '../../options/check.js'
import { assumedRole, type AssumeRoleOptions } from './assume-role.js'
import { environmentCredentials } from './environment-credentials.js'
import { isValidDate, type AwsCredentials, type AwsCredentialsProvider } from './credentials.js'
import { loadCredentialProviders } from './load-credential-providers.js'
import { withoutRequest } from './without-request.js'

export interface CredentialsProviderSettings {
  credentials: AwsCredentials | AwsCredentialsProvider | undefined
  profile: string | undefined
  /** Taken on one after the other. */
  roles: readonly AssumeRoleOptions[]
  /** `undefined` leaves it to the SDK. */
  region: string | undefined
}

/** The provider, and what it looks for, as a sentence for the hint of a failure. */
export interface CredentialsProvider {
  provider: AwsCredentialsProvider
  lookedFor: string
}

/** Returns the provider of a login. Nothing is loaded or looked up before it is called. */
export function credentialsProvider(settings: CredentialsProviderSettings): CredentialsProvider {
  const { roles, region } = settings
  return roles.reduce(
    ({ provider: before, lookedFor }, role) => ({
      provider: assumedRole(before, role, region),
      lookedFor: `${lookedFor} Then took on the role ${role.roleArn}.`,
    }),
    baseProvider(settings),
  )
}

/** The `credentials` option: an identity, or a function that returns or promises one. */
export const credentials: Check<AwsCredentials | AwsCredentialsProvider> = (value, name) => {
  if (typeof value === 'function') return value as AwsCredentialsProvider
  if (!isPlainObject(value))
    throw invalidSecret(name, 'AWS credentials or a function that returns them', value)
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = value
  secretText(accessKeyId, `${name}.accessKeyId`)
  secretText(secretAccessKey, `${name}.secretAccessKey`)
  if (sessionToken !== undefined) secretText(sessionToken, `${name}.sessionToken`)
  if (expiration !== undefined && !isValidDate(expiration))
    throw invalidSecret(`${name}.expiration`, 'a valid Date', expiration)
  return value as unknown as AwsCredentials
}

/** A function that gives credentials. */
export const provider: Check<AwsCredentialsProvider> = (value, name) => {
  if (typeof value !== 'function') throw invalidSecret(name, 'a function', value)
  return value as AwsCredentialsProvider
}

function baseProvider({
  credentials: given,
  profile,
  region,
}: CredentialsProviderSettings): CredentialsProvider {
  if (typeof given === 'function')
    return { provider: given, lookedFor: 'Asked the function given as "credentials".' }
  if (given !== undefined) {
    return {
      provider: () => given,
      lookedFor: 'Used the value given as "credentials"; give a function where they end.',
    }
  }
  return { provider: defaultChain(profile, region), lookedFor: defaultChainSources(profile) }
}

function defaultChainSources(profile: string | undefined): string {
  const files = `the shared AWS files${profile === undefined ? '' : ` (profile "${profile}")`}`
  return `Looked for credentials in the environment (AWS_ACCESS_KEY_ID), ${files}, SSO, web identity, a credential process, and the container and instance metadata.`
}

/**
 * The environment, which comes first where no profile is wanted, then the SDK's chain. That is built once: it keeps what it
 * found, and what it learned about where to look.
 */
function defaultChain(
  profile: string | undefined,
  region: string | undefined,
): AwsCredentialsProvider {
  let chain: AwsCredentialsProvider | undefined
  return async (options) => {
    const inEnvironment = profile === undefined ? environmentCredentials(process.env) : undefined
    if (inEnvironment !== undefined) return inEnvironment
    const { fromNodeProviderChain } = await loadCredentialProviders()
    chain ??= fromNodeProviderChain({
      clientConfig: region === undefined ? {} : { region },
      ...(profile === undefined ? {} : { profile }),
    }) as AwsCredentialsProvider
    return withoutRequest(chain(options))
  }
}

/** Refuses two sources of credentials at once. */
export function refuseTwoSources(given: {
  credentials?: unknown
  customCredentialsProvider?: unknown
  profile?: unknown
}): void {
  const named = (['credentials', 'customCredentialsProvider', 'profile'] as const).filter(
    (name) => given[name] !== undefined,
  )
  if (named.length < 2) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${named[0]}" and "${named[1]}" must not be given together`,
    {
      hint: 'Give one source of credentials.',
    },
  )
}

/** Where AWS credentials come from: what the caller gave, else the SDK's default chain; then, if wanted, a role. */
import { PgIamError } from '../../errors.js'
import { loadPeer } from '../../load-peer.js'
import {
  checkOptions,
  integerWithin,
  invalidOption,
  invalidSecret,
  isPlainObject,
  matching,
  secretText,
  type Check,
} from '../../options/check.js'
import { isValidDate, type AwsCredentials, type AwsCredentialsProvider } from './credentials.js'

/** A role to take on with the credentials, by STS. */
export interface AssumeRoleOptions {
  roleArn: string
  externalId?: string
  /** Default: a name that the SDK makes. */
  sessionName?: string
  /** Life of the role's credentials, in seconds, from 900 to 43,200. Default 3,600. */
  durationSecs?: number
}

export interface CredentialsProviderSettings {
  credentials: AwsCredentials | AwsCredentialsProvider | undefined
  profile: string | undefined
  assumeRole: AssumeRoleOptions | undefined
  region: string
}

/** The provider, and what it looks for, as a sentence for the hint of a failure. */
export interface CredentialsProvider {
  provider: AwsCredentialsProvider
  lookedFor: string
}

/** Returns the provider of a login. Nothing is loaded or looked up before it is called. */
export function credentialsProvider(settings: CredentialsProviderSettings): CredentialsProvider {
  const base = baseProvider(settings)
  if (settings.assumeRole === undefined) return base
  return {
    provider: assumedRole(base.provider, settings.assumeRole, settings.region),
    lookedFor: `${base.lookedFor} Then took on the role ${settings.assumeRole.roleArn}.`,
  }
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

export const assumeRole: Check<AssumeRoleOptions> = (value, name) => {
  const { roleArn, ...rest } = checkOptions(value, ROLE_CHECKS, `${name}.`)
  if (roleArn === undefined) throw invalidOption(`${name}.roleArn`, ROLE_ARN, undefined)
  return { roleArn, ...rest }
}

const ROLE_ARN = 'the ARN of a role'

// The forms are those of https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const ROLE_CHECKS = {
  roleArn: matching(/^arn:[\w-]+:iam::\d{12}:role\/[\u0021-\u007e]+$/, ROLE_ARN),
  externalId: matching(/^[\w+=,.@:/-]{2,1224}$/, '2 to 1224 letters, digits or +=,.@:/-'),
  sessionName: matching(/^[\w+=,.@-]{2,64}$/, '2 to 64 letters, digits or +=,.@-'),
  durationSecs: integerWithin(900, 43_200, 'seconds'),
} as const

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

/** The chain is built once: it keeps what it found, and what it learned about where to look. */
function defaultChain(profile: string | undefined, region: string): AwsCredentialsProvider {
  let chain: AwsCredentialsProvider | undefined
  return async (options) => {
    const { fromNodeProviderChain } = await loadCredentialProviders()
    chain ??= fromNodeProviderChain({
      clientConfig: { region },
      ...(profile === undefined ? {} : { profile }),
    }) as AwsCredentialsProvider
    return withoutRequest(chain(options))
  }
}

/**
 * Made anew for each call: the STS client of the SDK would keep the first credentials that it got, for ever where they name no
 * end, also when STS has come to refuse them.
 */
function assumedRole(
  base: AwsCredentialsProvider,
  role: AssumeRoleOptions,
  region: string,
): AwsCredentialsProvider {
  return async () => {
    const { fromTemporaryCredentials } = await loadCredentialProviders()
    const assume = fromTemporaryCredentials({
      masterCredentials: async () => base(),
      clientConfig: { region },
      params: {
        RoleArn: role.roleArn,
        // The SDK needs a name; it makes one of its own only where the whole field is missing.
        RoleSessionName: role.sessionName ?? `pg-iam-${process.pid}`,
        ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
        ...(role.durationSecs === undefined ? {} : { DurationSeconds: role.durationSecs }),
      },
    })
    return withoutRequest(assume())
  }
}

/** An error of the SDK leads, by the body of the response, to the request that it was for, and that holds a session token. */
async function withoutRequest<T>(work: T | Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const { $response } = (error ?? {}) as { $response?: { body?: unknown } }
    if ($response !== undefined) $response.body = undefined
    throw error
  }
}

function loadCredentialProviders(): Promise<typeof import('@aws-sdk/credential-providers')> {
  return loadPeer('@aws-sdk/credential-providers', () => import('@aws-sdk/credential-providers'))
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

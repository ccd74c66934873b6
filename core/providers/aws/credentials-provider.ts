/** Sources of AWS credentials: the caller's, else the environment or the SDK's chain; then roles assumed through STS. */
import { PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import {
  type Check,
  checkOptions,
  integerWithin,
  invalidOption,
  invalidSecret,
  isPlainObject,
  matching,
  type NonEmpty,
  oneOrMore,
  secretText,
  type Environment,
} from '../../options/check.js'
import { tokenTimeout } from '../../tokens/token-source.js'
import { withTimeout } from '../../async.js'
import { type AwsCredentials, type AwsCredentialsProvider, isValidDate } from './credentials.js'

export interface CredentialsProviderSettings {
  credentials: AwsCredentials | AwsCredentialsProvider | undefined
  profile: string | undefined
  /** Assumed one after another. */
  roles: readonly AssumeRoleOptions[]
  /** `undefined` leaves it to the SDK. */
  region: string | undefined
}

/** The provider, and the sources it tries, as a sentence for error hints. */
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
      lookedFor: `${lookedFor} Then assumed the role ${role.roleArn}.`,
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

/** A function that returns credentials. */
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
    return { provider: given, lookedFor: 'Called the function given as "credentials".' }
  if (given !== undefined) {
    return {
      provider: () => given,
      lookedFor: 'Used the value given as "credentials"; give a function if they expire.',
    }
  }
  return { provider: defaultChain(profile, region), lookedFor: defaultChainSources(profile) }
}

function defaultChainSources(profile: string | undefined): string {
  const files = `the shared AWS files${profile === undefined ? '' : ` (profile "${profile}")`}`
  return `Looked for credentials in the environment (AWS_ACCESS_KEY_ID), ${files}, SSO, web identity, a credential process, and the container and instance metadata.`
}

/**
 * The environment, which comes first if no profile is given, then the SDK's chain. The chain is created once, since it caches the
 * credentials and their source.
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
    return redactSdkError(chain(options))
  }
}

/** Throws if two sources of credentials are given. */
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

/**
 * The identity in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_CREDENTIAL_EXPIRATION`, or `undefined` if one
 * of the keys is missing, or `AWS_PROFILE` selects another source.
 *
 * The SDK's chain starts with the same source, but loading the chain takes longer than the rest of a cold start:
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
 */
export function environmentCredentials(env: Environment): AwsCredentials | undefined {
  const accessKeyId = env['AWS_ACCESS_KEY_ID']
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY']
  const sessionToken = env['AWS_SESSION_TOKEN']
  const expiration = env['AWS_CREDENTIAL_EXPIRATION']
  if (env['AWS_PROFILE'] || !accessKeyId || !secretAccessKey) return undefined
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken ? { sessionToken } : {}),
    ...(expiration ? { expiration: new Date(expiration) } : {}),
  }
}

/** A role to assume through STS. */
export interface AssumeRoleOptions {
  roleArn: string
  externalId?: string
  /** Default: `pg-iam-` and the process ID. */
  sessionName?: string
  /** Lifetime of the role's credentials, in seconds, from 900 to 43,200, or to 3,600 if another role assumes it. Default 3,600. */
  durationSecs?: number
}

/**
 * Returns a provider of the credentials of `role`.
 *
 * Each call creates a new SDK provider: its STS client keeps the first credentials that it gets, without limit if they have no
 * "expiration", even after STS rejects them.
 */
export function assumedRole(
  base: AwsCredentialsProvider,
  role: AssumeRoleOptions,
  region: string | undefined,
): AwsCredentialsProvider {
  return async () => {
    const { fromTemporaryCredentials } = await loadCredentialProviders()
    const assume = fromTemporaryCredentials({
      masterCredentials: async () => base(),
      clientConfig: region === undefined ? {} : { region },
      params: {
        RoleArn: role.roleArn,
        // The SDK requires a name. It only generates one if `params` is missing as a whole.
        RoleSessionName: role.sessionName ?? `pg-iam-${process.pid}`,
        ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
        ...(role.durationSecs === undefined ? {} : { DurationSeconds: role.durationSecs }),
      },
    })
    return redactSdkError(assume())
  }
}

export interface WebTokenRequest {
  readonly roleArn: string
  readonly roleSessionName: string
  readonly webIdentityToken: string
  readonly durationSeconds: number
  readonly clientConfig: { readonly region?: string; readonly endpoint?: string }
}

/** Resolves with credentials of a role for an ID token, or rejects with `ERR_PEER_MISSING` or the SDK's error, without the token. */
export async function webTokenCredentials(request: WebTokenRequest): Promise<AwsCredentials> {
  const { fromWebToken } = await loadCredentialProviders()
  return redactSdkError(fromWebToken(request)())
}

/** The `assumeRole` option: a role, or a chain of roles. */
export const assumeRole: Check<NonEmpty<AssumeRoleOptions>> = (value, name) => {
  const roles = oneOrMore(role)(value, name)
  for (const [index, { durationSecs }] of roles.entries()) {
    if (index > 0 && durationSecs !== undefined && durationSecs > LONGEST_CHAINED_SECS) {
      throw invalidOption(
        `${name}[${index}].durationSecs`,
        `at most ${LONGEST_CHAINED_SECS} seconds for a role that another role assumes`,
        durationSecs,
      )
    }
  }
  return roles
}

/** AWS's limit for chained roles: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
const LONGEST_CHAINED_SECS = 3_600

const role: Check<AssumeRoleOptions> = (value, name) => {
  const { roleArn, ...rest } = checkOptions(value, ROLE_CHECKS, `${name}.`)
  if (roleArn === undefined) throw invalidOption(`${name}.roleArn`, ROLE_ARN, undefined)
  return { roleArn, ...rest }
}

const ROLE_ARN = 'the ARN of a role'

// The patterns are those of https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const ROLE_CHECKS = {
  roleArn: matching(/^arn:[\w-]+:iam::\d{12}:role\/[\u0021-\u007e]+$/, ROLE_ARN),
  externalId: matching(/^[\w+=,.@:/-]{2,1224}$/, '2 to 1224 letters, digits or +=,.@:/-'),
  sessionName: matching(/^[\w+=,.@-]{2,64}$/, '2 to 64 letters, digits or +=,.@-'),
  durationSecs: integerWithin(900, 43_200, 'seconds'),
} as const

async function loadCredentialProviders(): Promise<typeof import('@aws-sdk/credential-providers')> {
  try {
    return await import('@aws-sdk/credential-providers')
  } catch (error) {
    throw peerError(error, '@aws-sdk/credential-providers')
  }
}

/** Settles as `work` does. Removes the response body from an SDK error, since it references the request, which has a session token. */
export async function redactSdkError<T>(work: T | Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const { $response } = (error ?? {}) as { $response?: { body?: unknown } }
    if ($response !== undefined) $response.body = undefined
    throw error
  }
}

/**
 * Adds a time limit to a provider. Connections that are opened together share one call, so without a limit all later connections would wait
 * for a call that never settles.
 */
export function answeringWithin(
  given: AwsCredentialsProvider,
  milliseconds: number,
): AwsCredentialsProvider {
  return (...options) => {
    const answer = given(...options)
    if (!('then' in Object(answer))) return answer
    return withTimeout(Promise.resolve(answer), milliseconds, () =>
      tokenTimeout(`could not get AWS credentials within ${milliseconds} ms`),
    )
  }
}

/** The sign-in of `pg-iam login`, and its credentials for the other commands. */
import { readFileSync } from 'node:fs'
import { PgIamError } from '../core/errors.js'
import type { AwsCredentialsProvider } from '../core/providers/aws/credentials.js'
import type { AzureTokenCredential } from '../core/providers/entra/token.js'
import type { HostedProvider } from '../core/providers/host-names.js'
import type { SavedSignIn } from '../sign-in/command-line.js'
import { signInFile } from '../sign-in/session-store.js'
import { usageError } from './failure.js'

type Env = Readonly<Record<string, string | undefined>>

export async function openSignIn(
  env: Env,
): Promise<ReturnType<typeof import('../sign-in/command-line.js').createCommandLineSignIn>> {
  const { createCommandLineSignIn } = await import('../sign-in/command-line.js')
  const key = env['PG_IAM_SIGN_IN_KEY']
  if (key && key.length < 32)
    throw usageError('"PG_IAM_SIGN_IN_KEY" must have at least 32 characters')
  return createCommandLineSignIn({ file: signInFile(env), ...(key ? { key } : {}) })
}

// The credentials of the signed-in user.

/** What has precedence over a sign-in: credentials that the environment names. */
export function otherSource(env: Env): string | undefined {
  return ['AWS_ACCESS_KEY_ID', 'AWS_PROFILE'].find((name) => env[name])
}

/** Whether commands use the sign-in for a database of this provider. */
export function isSignedIn(provider: HostedProvider | undefined, env: Env): boolean {
  if (provider === undefined || provider === 'cloud-sql') return false
  const { scopes = [], settings = {} } = savedProfile(env) ?? {}
  // The token of a sign-in that is not for this database must not be sent to it.
  if (provider === 'entra') return scopes.some((scope) => scope.includes('ossrdbms-aad.'))
  return settings['role'] !== undefined && otherSource(env) === undefined
}

function savedProfile(
  env: Env,
): { scopes?: readonly string[]; settings?: Readonly<Record<string, string>> } | undefined {
  try {
    const { profile } = JSON.parse(readFileSync(signInFile(env), 'utf8')) as {
      profile?: { value: string; until: number }
    }
    return profile === undefined || profile.until < Date.now()
      ? undefined
      : (JSON.parse(profile.value) as object)
  } catch {
    // The file is missing or damaged. `whoami` reports that.
    return undefined
  }
}

/** The option `credentials` of a login of the signed-in user. Nothing is read before the first token. */
export function signedInCredentials(
  provider: HostedProvider,
  env: Env,
): AwsCredentialsProvider | AzureTokenCredential {
  const saved = async (): Promise<SavedSignIn> => {
    const found = await (await openSignIn(env)).saved()
    if (found === undefined) {
      throw new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'nobody is signed in', {
        hint: 'Run: pg-iam login --issuer URL --client-id ID',
      })
    }
    return found
  }
  if (provider === 'entra') {
    return {
      async getToken() {
        const { identity, tokensExpireAt } = await saved()
        const token = await identity.accessToken()
        return {
          token,
          expiresOnTimestamp: Math.max(tokensExpireAt.getTime(), Date.now() + 60_000),
        }
      },
    }
  }
  let ofUser: AwsCredentialsProvider | undefined
  return async (options) => {
    if (ofUser === undefined) {
      const { identity, profile } = await saved()
      const { role, region, 'sts-endpoint': endpoint } = profile.settings ?? {}
      if (role === undefined) {
        throw new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'the sign-in names no role of AWS', {
          hint: 'Run: pg-iam login --role ARN, with the ARN of a role that you may assume.',
        })
      }
      const { webIdentity } = await import('../sign-in/identity-credentials.js')
      ofUser = webIdentity({
        roleArn: role,
        ...(region === undefined ? {} : { region }),
        ...(endpoint === undefined ? {} : { endpoint }),
      })(identity) as AwsCredentialsProvider
    }
    return ofUser(options)
  }
}

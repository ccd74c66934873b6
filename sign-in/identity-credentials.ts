/** From the identity of a signed-in user to credentials of a cloud. */
import { webTokenCredentials } from '../core/providers/aws/credentials-provider.js'
import type { AwsCredentials, AwsCredentialsProvider } from '../core/providers/aws/credentials.js'
import type { AzureTokenCredential } from '../core/providers/entra/token.js'
import { singleFlight } from '../core/async.js'
import { isPgIamError, PgIamError } from '../core/errors.js'
import {
  type Check,
  checkOptions,
  integerWithin,
  invalidOption,
  matching,
  secureUrl,
  text,
} from '../core/options/check.js'
import { isTransientFailure } from '../core/tokens/token.js'

/** A signed-in user, for the function that makes credentials of it. */
export interface SignedInIdentity {
  readonly issuer: string
  /** The claim `sub`: the user at this issuer. */
  readonly subject: string
  /** The claims of the ID token. */
  readonly claims: Readonly<Record<string, unknown>>
  /** Resolves with an ID token that is valid now. Rejects with `ERR_SESSION_ENDED` or `ERR_SIGN_IN_UNAVAILABLE`. */
  idToken(): Promise<string>
  /** The same for the access token. */
  accessToken(): Promise<string>
  /** Exchanges a token at the token endpoint of the issuer, as this client. */
  exchangeToken(
    grantType: string,
    parameters: Record<string, string>,
  ): Promise<{ token: string; expiresAt: number }>
}

/** Returns the option `credentials` of the user's logins. */
export type IdentityCredentials = (
  identity: SignedInIdentity,
) => AwsCredentialsProvider | AzureTokenCredential

export interface WebIdentityOptions {
  /** The ARN of the role of a user, or a function of the user that returns it, or throws if there is none. */
  roleArn: string | ((identity: SignedInIdentity) => string)
  /** The region of AWS STS. Default: that of the AWS SDK. */
  region?: string
  /** Lifetime of the credentials, in seconds, from 900 to 43,200, at most the role's maximum. Default 3,600. */
  durationSecs?: number
  /** The session name, which CloudTrail shows; or a function of the user. Default: the claim `email`, `preferred_username` or `sub`. */
  sessionName?: string | ((identity: SignedInIdentity) => string)
  /** The URL of AWS STS: https, or http on this machine. Default: that of the AWS SDK. */
  endpoint?: string
}

/**
 * Returns the credentials of AWS for a signed-in user: `AssumeRoleWithWebIdentity` with the user's ID token. Needs
 * `@aws-sdk/credential-providers`, and an IAM OIDC provider with this client ID as audience in the account of the role:
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
 *
 * All logins of one session share the credentials, which are requested again five minutes before they expire.
 *
 * Exported from `'pg-iam/sign-in'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`. The credentials reject with `ERR_CREDENTIALS_UNAVAILABLE`, or `ERR_SESSION_ENDED`.
 */
export function webIdentity(options: WebIdentityOptions): IdentityCredentials {
  const given = checkOptions(options, {
    roleArn: textOr(ROLE_ARN),
    region: text,
    durationSecs: integerWithin(900, 43_200, 'seconds'),
    sessionName: textOr(SESSION_NAME),
    endpoint: secureUrl,
  })
  const { roleArn, region, durationSecs = 3_600, sessionName, endpoint } = given
  if (roleArn === undefined)
    throw invalidOption('roleArn', 'the ARN of a role, or a function that returns it', undefined)
  return (identity) => {
    const request = async (): Promise<AwsCredentials> => {
      const role = ROLE_ARN(valueOf(roleArn, identity), 'roleArn')
      const roleSessionName = SESSION_NAME(
        sessionName === undefined ? nameOf(identity) : valueOf(sessionName, identity),
        'sessionName',
      )
      const webIdentityToken = await identity.idToken()
      try {
        return await webTokenCredentials({
          roleArn: role,
          roleSessionName,
          webIdentityToken,
          durationSeconds: durationSecs,
          clientConfig: {
            ...(region === undefined ? {} : { region }),
            ...(endpoint === undefined ? {} : { endpoint }),
          },
        })
      } catch (cause) {
        if (isPgIamError(cause)) throw cause
        throw new PgIamError(
          'ERR_CREDENTIALS_UNAVAILABLE',
          `AWS STS refused to issue credentials of ${role} (${nameOfError(cause)})`,
          {
            cause,
            hint: 'Check the trust policy of the role: the OIDC provider, and its conditions on "aud" and "sub".',
            retryable:
              isTransientFailure(cause) || nameOfError(cause).startsWith('IDPCommunicationError'),
          },
        )
      }
    }
    let kept: AwsCredentials | undefined
    const renew = singleFlight(async () => (kept = await request()))
    return async ({ forceRefresh = false } = {}) =>
      forceRefresh || kept === undefined || nearEnd(kept) ? renew() : kept
  }
}

const RENEW_MS = 300_000

function nearEnd({ expiration }: AwsCredentials): boolean {
  return expiration !== undefined && expiration.getTime() - Date.now() < RENEW_MS
}

function valueOf(
  given: string | ((identity: SignedInIdentity) => string),
  identity: SignedInIdentity,
): string {
  return typeof given === 'function' ? given(identity) : given
}

function textOr(check: Check<string>): Check<string | ((identity: SignedInIdentity) => string)> {
  return (value, name) =>
    typeof value === 'function' ? (value as () => string) : check(value, name)
}

const ROLE_ARN = matching(/^arn:[\w-]+:iam::\d{12}:role\/[!-~]+$/, 'the ARN of a role')
const SESSION_NAME = matching(/^[\w+=,.@-]{2,64}$/, '2 to 64 letters, digits or +=,.@-')

/** STS allows fewer characters than claims have. */
function nameOf({ claims, subject }: SignedInIdentity): string {
  const named = [claims['email'], claims['preferred_username'], subject].find(
    (value): value is string => typeof value === 'string' && value !== '',
  )
  return (named ?? subject)
    .replaceAll(/[^\w+=,.@-]/g, '-')
    .slice(0, 64)
    .padEnd(2, '-')
}

function nameOfError(error: unknown): string {
  const { name } = (error ?? {}) as { name?: unknown }
  return typeof name === 'string' ? name : 'unknown error'
}

export interface OnBehalfOfOptions {
  /** The scope to request. Default: the one that the login asks for, which is that of Azure's databases. */
  scope?: string
}

/**
 * Returns the credentials of Microsoft Entra ID for a signed-in user: the on-behalf-of flow with the user's access token. That token has to
 * be for the application's own API, so `scopes` must include one of its scopes, such as `api://CLIENT-ID/access`, and `clientSecret` must be
 * given: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
 *
 * Exported from `'pg-iam/sign-in'`.
 */
export function onBehalfOf(options: OnBehalfOfOptions = {}): IdentityCredentials {
  const { scope } = checkOptions(options, { scope: text })
  return (identity) => {
    /** By the scope. The issuer is remote, and limits requests. */
    const kept = new Map<string, { token: string; expiresAt: number }>()
    return {
      async getToken(requested) {
        const wanted = scope ?? [requested].flat().join(' ')
        let current = kept.get(wanted)
        if (current === undefined || current.expiresAt - Date.now() < RENEW_MS) {
          current = await identity.exchangeToken('urn:ietf:params:oauth:grant-type:jwt-bearer', {
            assertion: await identity.accessToken(),
            requested_token_use: 'on_behalf_of',
            scope: wanted,
          })
          kept.set(wanted, current)
        }
        return { token: current.token, expiresOnTimestamp: current.expiresAt }
      },
    }
  }
}

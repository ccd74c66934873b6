/** Temporary passwords for Redshift, which come together with the database user. */
import { PgIamError } from '../../errors.js'
import { isTransientFailure } from '../../tokens/transient-failure.js'
import { receivedToken } from '../../tokens/received-token.js'
import type { Token } from '../../tokens/token.js'
import { untilTokenTimeout } from '../../tokens/until-token-timeout.js'
import type { CredentialsSource } from '../aws/credentials.js'
import { clusterPassword } from './cluster-password.js'
import type { RedshiftEndpoint } from './host.js'
import { chosenUserPassword } from './chosen-user-password.js'
import type { ChosenUser, PasswordApi } from './password-api.js'
import { workgroupPassword } from './workgroup-password.js'

export interface PasswordSettings {
  host: string
  region: string
  kind: RedshiftEndpoint['kind']
  /** The cluster identifier, or the name of the workgroup; `undefined` where the host is a custom domain name. */
  name: string | undefined
  database: string
  /** The user to be, where it is one of the caller's choice. */
  chosen: ChosenUser | undefined
  durationSecs: number
  tokenTimeoutMs: number
  credentials: CredentialsSource
}

/** Creates the function that asks for a password. The SDK is loaded for the first one. */
export function redshiftPasswordIssuer(settings: PasswordSettings): () => Promise<Token> {
  const { host, credentials, tokenTimeoutMs } = settings
  const { ask, names, explain } = apiFor(settings)
  const purpose = `redshift: could not get a token for ${host}`
  const askOnce = async (signal: AbortSignal): Promise<Token> => {
    const answer = await ask({ ...settings, credentials: await credentials(), signal })
    return receivedToken(answer, `redshift: the password for ${host}`, names)
  }
  return () =>
    untilTokenTimeout(tokenTimeoutMs, purpose, async (signal) => {
      try {
        return await askOnce(signal)
      } catch (error) {
        if (!isIdentityRefused(error) || !(await credentials.renewAfterRefusal()))
          throw asRequestError(error, purpose, explain(error, settings))
      }
      try {
        return await askOnce(signal)
      } catch (error) {
        throw asRequestError(error, purpose, explain(error, settings))
      }
    })
}

function apiFor({ kind, chosen }: PasswordSettings): PasswordApi {
  if (kind === 'workgroup') return workgroupPassword
  return chosen === undefined ? clusterPassword : chosenUserPassword
}

/** Keys are also taken back, or rotated, before they end: https://docs.aws.amazon.com/redshift/latest/APIReference/CommonErrors.html */
function isIdentityRefused(error: unknown): boolean {
  const { name } = (error ?? {}) as { name?: unknown }
  return REFUSED_IDENTITIES.some((known) => known === name)
}

const REFUSED_IDENTITIES = [
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidClientTokenId',
  'UnrecognizedClientException',
]

/** Only what the service says is explained; what is already ours passes. */
function asRequestError(cause: unknown, purpose: string, hint: string | undefined): unknown {
  if (hint === undefined) return cause
  return new PgIamError('ERR_TOKEN_REQUEST_FAILED', purpose, {
    cause,
    hint,
    retryable: isTransientFailure(cause),
  })
}

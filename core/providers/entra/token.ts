/** Tokens of Microsoft Entra ID, and the database user that they are for. */
import { PgIamError, isPgIamError } from '../../errors.js'
import { describeKind } from '../../redact.js'
import type { LoginCounters } from '../../tokens/login-counters.js'
import { invalidToken, receivedToken } from '../../tokens/received-token.js'
import { createToken, type Token } from '../../tokens/token.js'
import { untilTokenTimeout } from '../../tokens/until-token-timeout.js'
import {
  CREDENTIAL,
  isAzureTokenCredential,
  type AzureAccessToken,
  type AzureTokenCredential,
} from './credential.js'
import { applicationFromClaims, claimsOf, userFromClaims, type NamedUser } from './user-name.js'

export interface EntraTokenSettings {
  /** Gives the credential; asked once, and again where that failed. */
  credential: () => AzureTokenCredential | Promise<AzureTokenCredential>
  scope: string
  /** Where to ask for a token that names the identity, if the one for the database does not. */
  managementScope: string
  /** The database user, where it was given. */
  user: string | undefined
  /** The same, where no token names one. */
  fallbackUser?: string | undefined
  /** Is told of the user that was found in a token. */
  found: (user: NamedUser) => void
  tokenTimeoutMs: number
  counters: LoginCounters
}

/** Creates the function that gets a token. The Azure SDK keeps tokens by itself, and renews them before they end. */
export function entraTokenIssuer(settings: EntraTokenSettings): (host: string) => Promise<Token> {
  const { scope, managementScope, user, fallbackUser, found, tokenTimeoutMs, counters } = settings
  let credential: AzureTokenCredential | undefined

  const get = (wanted: string, host: string): Promise<Token> =>
    untilTokenTimeout(
      tokenTimeoutMs,
      `entra: could not get a token for ${host}`,
      async (signal) => {
        counters.credentialCalls++
        try {
          credential ??= checkedCredential(await settings.credential())
          return checkedToken(await credential.getToken(wanted, { abortSignal: signal }), host)
        } catch (cause) {
          throw unavailable(cause)
        }
      },
    )
  const userOfManagementToken = async (host: string): Promise<NamedUser | { error: unknown }> => {
    try {
      const { value } = await get(managementScope, host)
      return userFromClaims(claimsOf(value) ?? {}) ?? { error: undefined }
    } catch (error) {
      return { error }
    }
  }
  return async (host) => {
    const token = await get(scope, host)
    if (user !== undefined) return token
    const claims = claimsOf(token.value) ?? {}
    const name = userFromClaims(claims) ?? (await userOfManagementToken(host))
    const named = 'error' in name ? applicationFromClaims(claims) : name
    if (named === undefined && fallbackUser !== undefined)
      return createToken(token.value, token.expiresAt, fallbackUser)
    if (named === undefined) throw unnamed(host, claims, (name as { error: unknown }).error)
    found(named)
    return createToken(token.value, token.expiresAt, named.user)
  }
}

function checkedCredential(value: unknown): AzureTokenCredential {
  if (isAzureTokenCredential(value)) return value
  throw new PgIamError(
    'ERR_CREDENTIALS_UNAVAILABLE',
    `entra: "credentials" must return ${CREDENTIAL}, got ${describeKind(value)}`,
  )
}

function checkedToken(given: AzureAccessToken | null, host: string): Token {
  const { token, expiresOnTimestamp } = (given ?? {}) as Partial<
    Record<keyof AzureAccessToken, unknown>
  >
  const what = `entra: the token for ${host}`
  if (!Number.isFinite(expiresOnTimestamp))
    throw invalidToken(what, 'expiresOnTimestamp', 'a number of milliseconds', expiresOnTimestamp)
  const expiresAt = new Date(expiresOnTimestamp as number)
  const names = { value: 'token', expiresAt: 'expiresOnTimestamp', user: 'user' }
  return receivedToken({ value: token, expiresAt }, what, names)
}

/**
 * The SDK says that a chain of credentials has found nobody. Its other errors do not tell somebody who is not there from an
 * issuer that does not answer.
 */
function unavailable(cause: unknown): unknown {
  if (isPgIamError(cause)) return cause
  const { name } = (cause ?? {}) as { name?: unknown }
  if (name !== 'AggregateAuthenticationError') return cause
  return new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'entra: could not find an Azure identity', {
    cause,
    hint: 'Without "credentials" they are looked for as DefaultAzureCredential does: environment, workload identity, managed identity, and the login of the Azure CLI (az login).',
  })
}

/** The claims are named, not shown: some of them say more of a person than a log should hold. */
function unnamed(host: string, claims: object, cause: unknown): PgIamError {
  const names = Object.keys(claims)
  const had = names.length === 0 ? 'no claims that can be read' : `the claims ${names.join(', ')}`
  return new PgIamError(
    'ERR_TOKEN_INVALID',
    `entra: the token for ${host} does not name the database user: it has ${had}`,
    {
      hint: 'Give "user", or "fallbackUsername": for an application or a group the display name of its role, else the name of the managed identity or the user principal name.',
      ...(cause === undefined ? {} : { cause }),
    },
  )
}

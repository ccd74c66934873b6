/** Microsoft Entra ID tokens, and the database user of a token. */
import type { AzureCloud } from '../host-names.js'
import { isPgIamError, PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { type Check, describeKind, invalidSecret, isText } from '../../options/check.js'
import { type LoginCounters, withTokenTimeout } from '../../tokens/token-source.js'
import { createToken, invalidToken, receivedToken, type Token } from '../../tokens/token.js'

interface EntraTokenSettings {
  /** Returns the credential. Called once, and again after a failure. */
  credential: () => AzureTokenCredential | Promise<AzureTokenCredential>
  scope: string
  /** The scope of a second token, which is requested if the token for the database does not name the identity. */
  managementScope: string
  /** The database user, if given. */
  user: string | undefined
  /** The database user if no token names one. */
  fallbackUser?: string | undefined
  /** Called with the user that was found in a token. */
  found: (user: NamedUser) => void
  tokenTimeoutMs: number
  counters: LoginCounters
}

/** Creates the function that gets a token. The Azure SDK caches tokens, and renews them before they expire. */
export function entraTokenIssuer(settings: EntraTokenSettings): (host: string) => Promise<Token> {
  const { scope, managementScope, user, fallbackUser, found, tokenTimeoutMs, counters } = settings
  let credential: AzureTokenCredential | undefined

  const get = (wanted: string, host: string): Promise<Token> =>
    withTokenTimeout(tokenTimeoutMs, `entra: could not get a token for ${host}`, async (signal) => {
      counters.credentialCalls++
      try {
        credential ??= checkedCredential(await settings.credential())
        return checkedToken(await credential.getToken(wanted, { abortSignal: signal }), host)
      } catch (cause) {
        throw unavailable(cause)
      }
    })
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
 * The SDK has an error for a credential chain that found no identity. Its other errors do not distinguish a missing identity from an
 * unreachable issuer.
 */
function unavailable(cause: unknown): unknown {
  if (isPgIamError(cause)) return cause
  const { name } = (cause ?? {}) as { name?: unknown }
  if (name !== 'AggregateAuthenticationError') return cause
  return new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'entra: could not find an Azure identity', {
    cause,
    hint: 'Without "credentials", DefaultAzureCredential is used: environment, workload identity, managed identity, and the login of the Azure CLI (az login).',
  })
}

/** Lists the names of the claims only, since their values may be personal data. */
function unnamed(host: string, claims: object, cause: unknown): PgIamError {
  const names = Object.keys(claims)
  const had = names.length === 0 ? 'no readable claims' : `the claims ${names.join(', ')}`
  return new PgIamError(
    'ERR_TOKEN_INVALID',
    `entra: the token for ${host} does not name the database user: it has ${had}`,
    {
      hint: 'Give "user", or "fallbackUsername": the display name of the role for an application or a group, otherwise the name of the managed identity or the user principal name.',
      ...(cause === undefined ? {} : { cause }),
    },
  )
}

// The sources of Microsoft Entra ID tokens: any credential of the Azure SDK.

/** A `TokenCredential` of the Azure SDK: `DefaultAzureCredential`, `ManagedIdentityCredential` or any other. */
export interface AzureTokenCredential {
  getToken(
    scopes: string | string[],
    options?: { abortSignal?: AbortSignal },
  ): Promise<AzureAccessToken | null>
}

export interface AzureAccessToken {
  readonly token: string
  /** Epoch milliseconds. */
  readonly expiresOnTimestamp: number
}

/** A function that returns a credential. Called before the first token. */
export type AzureCredentialProvider = () => AzureTokenCredential | Promise<AzureTokenCredential>

/** The `credentials` option. */
export const azureCredentials: Check<AzureTokenCredential | AzureCredentialProvider> = (
  value,
  name,
) => {
  if (typeof value === 'function') return value as AzureCredentialProvider
  if (isAzureTokenCredential(value)) return value
  throw invalidSecret(name, `${CREDENTIAL}, or a function that returns one`, value)
}

function isAzureTokenCredential(value: unknown): value is AzureTokenCredential {
  return typeof (value as { getToken?: unknown } | null | undefined)?.getToken === 'function'
}

const CREDENTIAL = 'a TokenCredential of the Azure SDK'

/**
 * The default credential of a login: `DefaultAzureCredential`, for the cloud of the server. Nothing is loaded before this is called.
 *
 * @param authorityHost where identities log in; the SDK's variable AZURE_AUTHORITY_HOST takes precedence
 */
export async function defaultAzureCredential(
  authorityHost: string | undefined,
): Promise<AzureTokenCredential> {
  const { DefaultAzureCredential } = await loadIdentity()
  return new DefaultAzureCredential(authorityHost === undefined ? {} : { authorityHost })
}

async function loadIdentity(): Promise<typeof import('@azure/identity')> {
  try {
    return await import('@azure/identity')
  } catch (error) {
    throw peerError(error, '@azure/identity')
  }
}

// The Microsoft clouds that have Azure Database for PostgreSQL.

interface CloudFacts {
  /** The scope of tokens for databases. */
  readonly scope: string
  /** The scope of tokens for the resource manager, which contain more claims of a managed identity. */
  readonly managementScope: string
  /** Where identities log in. */
  readonly authorityHost: string
}

/**
 * Domains: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and
 * https://learn.microsoft.com/azure/china/resources-developer-guide
 *
 * Scopes: the resource IDs `ossrdbmsResourceId` and `resourceManager` of the Azure CLI
 * (https://github.com/Azure/azure-cli/blob/dev/src/azure-cli-core/azure/cli/core/cloud.py); `az cloud show` prints them.
 */
export const CLOUDS: Readonly<Record<AzureCloud, CloudFacts>> = {
  public: {
    scope: 'https://ossrdbms-aad.database.windows.net/.default',
    managementScope: 'https://management.azure.com/.default',
    authorityHost: 'https://login.microsoftonline.com',
  },
  'us-government': {
    scope: 'https://ossrdbms-aad.database.usgovcloudapi.net/.default',
    managementScope: 'https://management.usgovcloudapi.net/.default',
    authorityHost: 'https://login.microsoftonline.us',
  },
  china: {
    scope: 'https://ossrdbms-aad.database.chinacloudapi.cn/.default',
    managementScope: 'https://management.chinacloudapi.cn/.default',
    authorityHost: 'https://login.chinacloudapi.cn',
  },
}

// The database user of a token, from its claims.

/** A user, and the claim that contains it. */
export interface NamedUser {
  readonly user: string
  readonly claim: string
}

/** Reads the claims of a token without verifying it, which is left to the server. Returns `undefined` if it is not a JSON Web Token. */
export function claimsOf(token: string): Readonly<Record<string, unknown>> | undefined {
  const [, payload, ...rest] = token.split('.')
  if (payload === undefined || rest.length !== 1) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? (claims as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/**
 * The user from the first claim that names one, in the order of Microsoft's libraries: the name of a user-assigned managed identity
 * (`xms_mirid`), then `upn`, `preferred_username`, `unique_name`.
 *
 * Those libraries do not support system-assigned identities. Their role is named after the resource, whose name is then in `xms_mirid`, so
 * it is tried last.
 *
 * Order: https://learn.microsoft.com/python/api/azure-postgresql-auth/azure_postgresql_auth.core and
 * https://learn.microsoft.com/dotnet/api/overview/azure/Microsoft.Azure.PostgreSQL.Auth-readme. The resource's name:
 * https://learn.microsoft.com/azure/postgresql/security/security-connect-with-managed-identity, and for slots
 * https://learn.microsoft.com/azure/app-service/overview-managed-identity
 */
export function userFromClaims(claims: Readonly<Record<string, unknown>>): NamedUser | undefined {
  const resource = splitResourceId(claims['xms_mirid'])
  const candidates: readonly [claim: string, user: unknown][] = [
    ['xms_mirid', resource?.type === USER_ASSIGNED ? resource.name : undefined],
    ['upn', claims['upn']],
    ['preferred_username', claims['preferred_username']],
    ['unique_name', claims['unique_name']],
    ['xms_mirid', resource?.type === USER_ASSIGNED ? undefined : resource?.name],
  ]
  for (const [claim, user] of candidates) if (isText(user)) return { user, claim }
  return undefined
}

/**
 * The application ID of a service principal, whose token contains no name. Microsoft's library for JavaScript uses `appid` as the user
 * (`@azure/postgresql-auth` 1.0.0-beta.1). The role must have been created with that name.
 *
 * A user's token also has an `appid`, that of the program that requested it, such as the Azure CLI. It differs by the claim `scp`:
 * https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
 */
function applicationFromClaims(claims: Readonly<Record<string, unknown>>): NamedUser | undefined {
  const { appid, scp } = claims
  return isText(appid) && scp === undefined ? { user: appid, claim: 'appid' } : undefined
}

/** Type and name of `/subscriptions/ID/resourcegroups/GROUP/providers/TYPE/NAME`. A name may have several parts: `shop/slots/staging`. */
function splitResourceId(id: unknown): { type: string; name: string } | undefined {
  if (typeof id !== 'string') return undefined
  const [, type, name] = /\/providers\/([^/]+\/[^/]+)\/([^/].*)$/i.exec(id) ?? []
  return type === undefined || name === undefined ? undefined : { type: type.toLowerCase(), name }
}

const USER_ASSIGNED = 'microsoft.managedidentity/userassignedidentities'

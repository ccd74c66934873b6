/** Where tokens of Microsoft Entra ID come from: any credential of the Azure SDK. */
import { peerError } from '../../load-peer.js'
import { invalidSecret, type Check } from '../../options/check.js'

/** What the Azure SDK calls a `TokenCredential`: `DefaultAzureCredential`, `ManagedIdentityCredential` and all the others. */
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

/** A function that gives a credential; it is called before the first token. */
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

export function isAzureTokenCredential(value: unknown): value is AzureTokenCredential {
  return typeof (value as { getToken?: unknown } | null | undefined)?.getToken === 'function'
}

export const CREDENTIAL = 'a TokenCredential of the Azure SDK'

/**
 * The credential of a login that was given none: `DefaultAzureCredential`, for the cloud of the server. Nothing is loaded before
 * it is called.
 *
 * @param authorityHost where identities log in; the SDK's own variable, AZURE_AUTHORITY_HOST, beats it
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

/** The metadata of an OpenID Connect issuer, as far as its keys are concerned. */
import { describeValue } from '../../../core/redact.js'
import { isTrustworthyUrl } from '../trustworthy-url.js'

/**
 * Returns the address of the keys of `issuer`. Rejects where its metadata cannot be read or are another issuer's.
 * See https://openid.net/specs/openid-connect-discovery-1_0.html, sections 4 and 4.3
 */
export async function discoverKeys(issuer: string): Promise<string> {
  const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!response.ok)
    throw new Error(`the metadata of the issuer came with status ${response.status}`)
  const { issuer: named, jwks_uri: url } = (await response.json()) as Record<string, unknown>
  if (named !== issuer) throw new Error(`the metadata are those of ${describeValue(named)}`)
  if (typeof url !== 'string' || !isTrustworthyUrl(url))
    throw new Error('the metadata name no keys at an https address')
  return url
}

const TIMEOUT_MS = 5_000

/** The keys that a token issuer publishes, and those that it has revoked. */
import type { FlattenedJWSInput, JSONWebKeySet } from 'jose'
import { describeValue, isSecureUrl } from '../../core/options/check.js'
import { loadJose } from '../../core/load-jose.js'

/** A JSON Web Key Set, as issuers publish them. */
export interface PublishedKeySet {
  readonly keys: readonly object[]
}

/** The source of the keys. */
export type KeySource =
  /** Read for each login. */
  | { readonly read: () => PublishedKeySet | Promise<PublishedKeySet> }
  /** Fetched from a URL, or from the URL in the metadata of `issuer`, and cached for `maxAgeMs`. */
  | { readonly url: string; readonly maxAgeMs: number }
  | { readonly issuer: string; readonly maxAgeMs: number }

/** Declared here, so that the type declarations do not depend on jose. */
type FindKey = (header: { alg: string; kid?: string }, token: object) => Promise<object>

export interface PublishedKeys {
  /** Finds the signing key of a token. It is the key function of jose's `jwtVerify`. */
  readonly find: FindKey
  /** Whether the key was published at an earlier login. */
  wasPublished(keyId: string): boolean
}

export function createPublishedKeys(source: KeySource): PublishedKeys {
  const seen = new Set<string>()
  const remember = (set: JSONWebKeySet | undefined): void => {
    for (const { kid } of set?.keys ?? []) if (kid !== undefined) seen.add(kid)
  }
  return {
    find: 'read' in source ? readForEachLogin(source, remember) : cached(source, remember),
    wasPublished: (keyId) => seen.has(keyId),
  }
}

type Remember = (set: JSONWebKeySet | undefined) => void

function readForEachLogin(
  { read }: Extract<KeySource, { read: unknown }>,
  remember: Remember,
): FindKey {
  let known: { text: string; keys: ReturnType<typeof import('jose').createLocalJWKSet> } | undefined
  return async (header, token) => {
    const { createLocalJWKSet } = await loadJose()
    const set = (await read()) as JSONWebKeySet
    remember(set)
    // jose caches the imported keys of a set, because importing a key takes as long as verifying a token. The caller may change the
    // set, so the cache is valid while the content is the same.
    const text = JSON.stringify(set)
    if (known === undefined || known.text !== text) known = { text, keys: createLocalJWKSet(set) }
    return known.keys(header, token as FlattenedJWSInput)
  }
}

function cached(source: Exclude<KeySource, { read: unknown }>, remember: Remember): FindKey {
  const { maxAgeMs } = source
  let keys: ReturnType<typeof import('jose').createRemoteJWKSet> | undefined
  return async (header, token) => {
    const { createRemoteJWKSet } = await loadJose()
    // If the metadata could not be read, the next login tries again.
    keys ??= createRemoteJWKSet(new URL(await urlOf(source)), {
      cacheMaxAge: maxAgeMs,
      cooldownDuration: Math.min(maxAgeMs, 30_000),
    })
    try {
      return await keys(header, token as FlattenedJWSInput)
    } finally {
      remember(keys.jwks())
    }
  }
}

async function urlOf(source: Exclude<KeySource, { read: unknown }>): Promise<string> {
  return 'url' in source ? source.url : discoverKeys(source.issuer)
}

// Key discovery with the metadata of an OpenID Connect issuer.

/**
 * Returns the URL of the issuer's keys. Rejects if its metadata cannot be read or belongs to another issuer.
 * See https://openid.net/specs/openid-connect-discovery-1_0.html, sections 4 and 4.3
 */
async function discoverKeys(issuer: string): Promise<string> {
  const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!response.ok)
    throw new Error(`the metadata request to the issuer failed with status ${response.status}`)
  const { issuer: named, jwks_uri: url } = (await response.json()) as Record<string, unknown>
  if (named !== issuer)
    throw new Error(`the metadata belongs to another issuer, ${describeValue(named)}`)
  if (typeof url !== 'string' || !isSecureUrl(url))
    throw new Error('the metadata has no https URL for the keys')
  return url
}

const TIMEOUT_MS = 5_000

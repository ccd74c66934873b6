/** The keys that an issuer of tokens publishes, and those that it has taken back. */
import type { FlattenedJWSInput, JSONWebKeySet } from 'jose'
import { discoverKeys } from './discovery.js'
import { loadJose } from './load-jose.js'

/** A JSON Web Key Set, as issuers publish them. */
export interface PublishedKeySet {
  readonly keys: readonly object[]
}

/** Where the keys are read. */
export type KeySource =
  /** Anew for each login. */
  | { readonly read: () => PublishedKeySet | Promise<PublishedKeySet> }
  /** From a URL, or from the one that the metadata of `issuer` names; kept for a while. */
  | { readonly url: string; readonly maxAgeMs: number }
  | { readonly issuer: string; readonly maxAgeMs: number }

/** Said in words of our own, so that our types need no jose. */
export type FindKey = (header: { alg: string; kid?: string }, token: object) => Promise<object>

export interface PublishedKeys {
  /** Finds the key that a token says it is signed with, as `jwtVerify` of jose wants it. */
  readonly find: FindKey
  /** Tells whether a key was published at an earlier login. */
  wasPublished(keyId: string): boolean
}

export function createPublishedKeys(source: KeySource): PublishedKeys {
  const seen = new Set<string>()
  const remember = (set: JSONWebKeySet | undefined): void => {
    for (const { kid } of set?.keys ?? []) if (kid !== undefined) seen.add(kid)
  }
  return {
    find: 'read' in source ? readEachTime(source, remember) : keptForAWhile(source, remember),
    wasPublished: (keyId) => seen.has(keyId),
  }
}

type Remember = (set: JSONWebKeySet | undefined) => void

function readEachTime(
  { read }: Extract<KeySource, { read: unknown }>,
  remember: Remember,
): FindKey {
  let known: { text: string; keys: ReturnType<typeof import('jose').createLocalJWKSet> } | undefined
  return async (header, token) => {
    const { createLocalJWKSet } = await loadJose()
    const set = (await read()) as JSONWebKeySet
    remember(set)
    // jose keeps what it has made of a key as long as its set, which takes as long as to check a token. Whoever gives a set may
    // also change it, so what counts is what is in it.
    const text = JSON.stringify(set)
    if (known === undefined || known.text !== text) known = { text, keys: createLocalJWKSet(set) }
    return known.keys(header, token as FlattenedJWSInput)
  }
}

function keptForAWhile(source: Exclude<KeySource, { read: unknown }>, remember: Remember): FindKey {
  const { maxAgeMs } = source
  let keys: ReturnType<typeof import('jose').createRemoteJWKSet> | undefined
  return async (header, token) => {
    const { createRemoteJWKSet } = await loadJose()
    // Metadata that could not be read are asked for again with the next login.
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

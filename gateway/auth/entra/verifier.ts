/** Checks a login's token as Azure Database for PostgreSQL would. */
import type { CryptoKey, FlattenedJWSInput, JSONWebKeySet, JWTPayload } from 'jose'
import { isPgIamError } from '../../../core/errors.js'
import { describeValue } from '../../../core/options/check.js'
import type { ServerError } from '../../../wire/error-response.js'
import { isSecureUrl } from '../endpoint.js'
import { fatal, type RefusalReason } from '../refusal.js'
import { accepted, denied, type Denied, type Verifier } from '../verifier.js'
import { loadJose } from './load-jose.js'

/** Who may log in as whom. */
export interface EntraPrincipal {
  /** The object ID of a user, a group, an application's service principal or a managed identity. */
  objectId: string
  /** The database roles that it may log in as. */
  roles: readonly string[]
}

export interface EntraVerifierSettings {
  tenantId: string
  /** What tokens may be for; the first is what clients are told. */
  audiences: readonly [string, ...string[]]
  issuers: readonly string[]
  keys: PublishedKeys
  principals: readonly EntraPrincipal[]
  /** Epoch milliseconds. */
  clock: () => number
}

/**
 * Creates the check. The signature comes first and the claims after it, so that a client that was given no token learns nothing
 * from the log's reasons but that.
 */
export function createEntraVerifier(settings: EntraVerifierSettings): Verifier {
  const { audiences, principals } = settings
  const refuse = ({ reason, explanation, claim }: TokenFault): Denied =>
    denied(reason, explanation, tokenRefused(reason, audiences[0], claim))
  return {
    async verify({ token, role }) {
      if (token === '') return refuse(fault('token-missing', 'the password is empty'))
      const checked = await checkToken(token, settings)
      if ('reason' in checked) return refuse(checked)
      const { payload } = checked
      const objectId = String(payload['oid'])
      const known = principals.filter((principal) => isMeant(principal, payload))
      if (known.length === 0)
        return denied(
          'principal-unknown',
          `neither ${describeValue(objectId)} nor a group of it is a principal of this gateway`,
          roleRefused(role),
        )
      if (!known.some(({ roles }) => roles.includes(role)))
        return denied(
          'role-not-allowed',
          `${describeValue(objectId)} may not log in as this role`,
          roleRefused(role),
        )
      const expiresAt = (payload.exp ?? 0) * 1_000
      return accepted(objectId, { fingerprint: signatureOf(token), expiresAt })
    },
  }
}

interface TokenFault {
  readonly reason: RefusalReason
  readonly explanation: string
  /** The claim that is at fault. */
  readonly claim?: string
}

function fault(reason: RefusalReason, explanation: string, claim?: string): TokenFault {
  return claim === undefined ? { reason, explanation } : { reason, explanation, claim }
}

async function checkToken(
  token: string,
  { tenantId, audiences, issuers, keys, clock }: EntraVerifierSettings,
): Promise<{ payload: JWTPayload } | TokenFault> {
  const { errors, jwtVerify } = await loadJose()
  let keyId: string | undefined
  try {
    const { payload } = await jwtVerify(
      token,
      (header, jws) => {
        // One without a name would be tried with the only key that there is, as long as there is one only.
        if (header.kid === undefined) throw new errors.JWSInvalid('no key is named')
        keyId = header.kid
        return keys.find(header, jws) as Promise<CryptoKey>
      },
      {
        // Entra ID signs with no other: https://learn.microsoft.com/entra/identity-platform/access-tokens
        algorithms: ['RS256'],
        audience: [...audiences],
        issuer: [...issuers],
        requiredClaims: ['exp', 'tid', 'oid'],
        currentDate: new Date(clock()),
      },
    )
    return payload['tid'] === tenantId ? { payload } : otherTenant(payload)
  } catch (error) {
    if (isPgIamError(error)) throw error
    return explained(error as JoseFailure, {
      tenantId,
      clock,
      isRevoked: wasTakenBack(keyId, keys),
    })
  }
}

/** An error of jose, or of the issuer. */
interface JoseFailure {
  readonly code?: unknown
  readonly claim?: unknown
  readonly reason?: unknown
  readonly payload?: JWTPayload
}

interface Circumstances {
  tenantId: string
  clock: () => number
  isRevoked: boolean
}

function explained(error: JoseFailure, circumstances: Circumstances): TokenFault {
  switch (error.code) {
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return fault('token-malformed', 'the token is no JSON Web Token of Entra ID')
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
      return fault('algorithm-wrong', 'the token is not signed with RS256')
    case 'ERR_JWKS_NO_MATCHING_KEY':
      return circumstances.isRevoked
        ? fault('key-revoked', 'the issuer has taken back the key that the token is signed with')
        : fault('key-unknown', 'the issuer publishes no key such as the token is signed with')
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return fault('signature-wrong', 'the signature is not one of the key that the token names')
    case 'ERR_JWT_EXPIRED':
      return fault('token-expired', `the token ended at ${timeOf(error.payload?.exp)}`, 'exp')
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      return wrongClaim(error, circumstances)
    default:
      return fault('verifier-failed', 'the keys of the issuer could not be read')
  }
}

function wrongClaim(
  { claim, reason, payload = {} }: JoseFailure,
  { tenantId }: Circumstances,
): TokenFault {
  const name = String(claim)
  if (reason === 'missing') return fault('claim-missing', `the token has no claim "${name}"`, name)
  switch (claim) {
    case 'iss':
      return payload['tid'] === tenantId
        ? fault('issuer-wrong', `the token was issued by ${describeValue(payload.iss)}`)
        : otherTenant(payload)
    case 'aud':
      return fault('audience-wrong', `the token is for ${describeValue(payload.aud)}`)
    case 'nbf':
      return fault('token-not-yet-valid', `the token is not valid before ${timeOf(payload.nbf)}`)
    default:
      return fault('token-malformed', `the claim "${name}" of the token cannot be what it is`)
  }
}

function otherTenant({ tid }: JWTPayload): TokenFault {
  return fault('tenant-wrong', `the token is of the tenant ${describeValue(tid)}`)
}

function wasTakenBack(keyId: string | undefined, keys: PublishedKeys): boolean {
  return keyId !== undefined && keys.wasPublished(keyId)
}

/** A token is for its owner and for the groups that it lists, whose members may log in as them. */
function isMeant({ objectId }: EntraPrincipal, { oid, groups }: JWTPayload): boolean {
  return oid === objectId || (Array.isArray(groups) && groups.includes(objectId))
}

/** The part of a token that no other one has. */
function signatureOf(token: string): Buffer {
  return Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url')
}

function timeOf(seconds: number | undefined): string {
  const date = new Date((seconds ?? Number.NaN) * 1_000)
  return Number.isNaN(date.getTime()) ? 'no time at all' : date.toISOString()
}

// What Azure Database for PostgreSQL tells the clients whose tokens it does not take.

/**
 * The texts are those of public reports, such as https://github.com/microsoft/azuredatastudio-postgresql/issues/505 (audience),
 * https://github.com/darold/ora2pg/issues/1851 (expiry), https://github.com/microsoft/vscode-pgsql/issues/183 (object ID),
 * https://github.com/cyrilgdn/terraform-provider-postgresql/issues/60 (anything else). They show no SQLSTATE; it is the one that
 * PostgreSQL has for such a refusal.
 *
 * @param resource what a token must be for
 */
function tokenRefused(
  reason: RefusalReason,
  resource: string,
  claim: string | undefined,
): ServerError {
  if (reason === 'audience-wrong')
    return invalid(
      `The access token does not have a valid audience claim. Please acquire a new token for the resource "${resource}".`,
    )
  if (reason === 'token-expired')
    return invalid('The access token has expired. Please acquire a new token and retry.')
  if (reason === 'claim-missing' && claim === 'oid')
    return invalid(
      "The access token doesn't have a valid oid claim. Acquire a new token and try again",
    )
  return invalid(
    'An error occurred while validating the access token. Please acquire a new token and retry.',
  )
}

/** As in https://github.com/microsoft/azuredatastudio-postgresql/issues/246, where the user name was that of somebody else. */
function roleRefused(role: string): ServerError {
  return fatal('28P01', `password authentication failed for user "${role}"`)
}

function invalid(message: string): ServerError {
  return fatal('28000', message)
}

// The keys that an issuer of tokens publishes, and those that it has taken back.

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
type FindKey = (header: { alg: string; kid?: string }, token: object) => Promise<object>

interface PublishedKeys {
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

// The metadata of an OpenID Connect issuer, as far as its keys are concerned.

/**
 * Returns the address of the keys of `issuer`. Rejects where its metadata cannot be read or are another issuer's.
 * See https://openid.net/specs/openid-connect-discovery-1_0.html, sections 4 and 4.3
 */
async function discoverKeys(issuer: string): Promise<string> {
  const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!response.ok)
    throw new Error(`the metadata of the issuer came with status ${response.status}`)
  const { issuer: named, jwks_uri: url } = (await response.json()) as Record<string, unknown>
  if (named !== issuer) throw new Error(`the metadata are those of ${describeValue(named)}`)
  if (typeof url !== 'string' || !isSecureUrl(url))
    throw new Error('the metadata name no keys at an https address')
  return url
}

const TIMEOUT_MS = 5_000

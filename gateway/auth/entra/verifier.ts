/** Verifies tokens the way Azure Database for PostgreSQL does. */
import type { CryptoKey, JWTPayload } from 'jose'
import { isPgIamError } from '../../../core/errors.js'
import { describeValue } from '../../../core/options/check.js'
import type { ServerError } from '../../../wire/error-response.js'
import { loadJose } from '../../../core/load-jose.js'
import type { PublishedKeys } from '../published-keys.js'
import { fatal, type RefusalReason } from '../refusal.js'
import { accepted, denied, type Denied, type Verifier } from '../verifier.js'

/** An Entra ID principal and its database roles. */
export interface EntraPrincipal {
  /** The object ID of a user, a group, an application's service principal or a managed identity. */
  objectId: string
  /** The database roles that it may log in as. */
  roles: readonly string[]
}

export interface EntraVerifierSettings {
  tenantId: string
  /** The accepted audiences. The first one appears in errors for clients. */
  audiences: readonly [string, ...string[]]
  issuers: readonly string[]
  keys: PublishedKeys
  principals: readonly EntraPrincipal[]
  /** Epoch milliseconds. */
  clock: () => number
}

/**
 * Creates the verifier. It verifies the signature before the claims, so that the refusal reasons reveal nothing to a client
 * without a genuine token.
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
          `neither ${describeValue(objectId)} nor any of its groups is a principal of this endpoint`,
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
  /** The invalid claim. */
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
        // jose would verify a token without a key ID if the set has exactly one key.
        if (header.kid === undefined) throw new errors.JWSInvalid('the token has no key ID')
        keyId = header.kid
        return keys.find(header, jws) as Promise<CryptoKey>
      },
      {
        // Entra ID uses no other algorithm: https://learn.microsoft.com/entra/identity-platform/access-tokens
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
    return faultFor(error as JoseFailure, {
      tenantId,
      clock,
      isRevoked: wasRevoked(keyId, keys),
    })
  }
}

/** An error from jose, or from reading the issuer's keys. */
interface JoseFailure {
  readonly code?: unknown
  readonly claim?: unknown
  readonly reason?: unknown
  readonly payload?: JWTPayload
}

interface FaultContext {
  tenantId: string
  clock: () => number
  isRevoked: boolean
}

function faultFor(error: JoseFailure, context: FaultContext): TokenFault {
  switch (error.code) {
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return fault('token-malformed', 'the token is not a JSON Web Token of Entra ID')
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
      return fault('algorithm-wrong', 'the token is not signed with RS256')
    case 'ERR_JWKS_NO_MATCHING_KEY':
      return context.isRevoked
        ? fault('key-revoked', 'the issuer has revoked the signing key of the token')
        : fault('key-unknown', 'the issuer does not publish the signing key of the token')
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return fault('signature-wrong', 'the signature does not match the signing key of the token')
    case 'ERR_JWT_EXPIRED':
      return fault('token-expired', `the token expired at ${timeOf(error.payload?.exp)}`, 'exp')
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      return wrongClaim(error, context)
    default:
      return fault('verifier-failed', 'the keys of the issuer could not be read')
  }
}

function wrongClaim(
  { claim, reason, payload = {} }: JoseFailure,
  { tenantId }: FaultContext,
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
      return fault('token-malformed', `the claim "${name}" of the token is invalid`)
  }
}

function otherTenant({ tid }: JWTPayload): TokenFault {
  return fault('tenant-wrong', `the token is from the tenant ${describeValue(tid)}`)
}

function wasRevoked(keyId: string | undefined, keys: PublishedKeys): boolean {
  return keyId !== undefined && keys.wasPublished(keyId)
}

/** A token matches the principal of its owner and of each group that it lists, because members may log in as their group. */
function isMeant({ objectId }: EntraPrincipal, { oid, groups }: JWTPayload): boolean {
  return oid === objectId || (Array.isArray(groups) && groups.includes(objectId))
}

/** The signature, which is unique to a token. */
function signatureOf(token: string): Buffer {
  return Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url')
}

function timeOf(seconds: number | undefined): string {
  const date = new Date((seconds ?? Number.NaN) * 1_000)
  return Number.isNaN(date.getTime()) ? 'an invalid time' : date.toISOString()
}

// The errors that Azure Database for PostgreSQL sends to its clients.

/**
 * The texts are from public reports, such as https://github.com/microsoft/azuredatastudio-postgresql/issues/505 (audience),
 * https://github.com/darold/ora2pg/issues/1851 (expiry), https://github.com/microsoft/vscode-pgsql/issues/183 (object ID),
 * https://github.com/cyrilgdn/terraform-provider-postgresql/issues/60 (all others). They show no SQLSTATE; this is PostgreSQL's for
 * a failed login.
 *
 * @param resource the required audience
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

/** As in https://github.com/microsoft/azuredatastudio-postgresql/issues/246, where the role did not belong to the user. */
function roleRefused(role: string): ServerError {
  return fatal('28P01', `password authentication failed for user "${role}"`)
}

function invalid(message: string): ServerError {
  return fatal('28000', message)
}

/** Checks a login's token as Azure Database for PostgreSQL would. */
import type { CryptoKey, JWTPayload } from 'jose'
import { isPgIamError } from '../../../core/errors.js'
import { describeValue } from '../../../core/redact.js'
import type { RefusalReason } from '../refusal.js'
import { accepted, denied, type Denied, type Verifier } from '../verifier.js'
import { roleRefused, tokenRefused } from './answers.js'
import { loadJose } from './load-jose.js'
import type { PublishedKeys } from './published-keys.js'

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

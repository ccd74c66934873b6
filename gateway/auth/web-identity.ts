/** Verifies the ID tokens of an OpenID Connect issuer, as AWS STS does for `AssumeRoleWithWebIdentity`. */
import type { CryptoKey } from 'jose'
import { isPgIamError } from '../../core/errors.js'
import { type Check, checkOptions, secureUrl, text } from '../../core/options/check.js'
import { requiredOption } from './endpoint.js'
import { loadJose } from '../../core/load-jose.js'
import { createPublishedKeys } from './published-keys.js'

export interface WebIdentityOptions {
  /** The required issuer of ID tokens, such as `https://login.example.com`. The keys are those in its metadata. */
  issuer: string
  /** The required audience of ID tokens: the client ID of the application. */
  audience: string
}

export const webIdentityOption: Check<WebIdentityOptions> = (value, name) => {
  const { issuer, audience } = checkOptions(
    value,
    { issuer: secureUrl, audience: text },
    `${name}.`,
  )
  return {
    issuer: requiredOption(issuer, `${name}.issuer`),
    audience: requiredOption(audience, `${name}.audience`),
  }
}

export interface WebIdentity extends WebIdentityOptions {
  /** Resolves with the claim `sub` of a token that is valid now, or with why it is not. */
  verify(token: string): Promise<{ readonly subject: string } | WebIdentityFault>
}

/** Why an ID token is refused, by the error of STS. */
export interface WebIdentityFault {
  readonly code:
    'ExpiredTokenException' | 'IDPCommunicationError' | 'IDPRejectedClaim' | 'InvalidIdentityToken'
  /** One sentence without any part of the token. */
  readonly explanation: string
}

/** @param clock epoch milliseconds */
export function createWebIdentity(
  { issuer, audience }: WebIdentityOptions,
  clock: () => number,
): WebIdentity {
  const keys = createPublishedKeys({ issuer, maxAgeMs: KEYS_MAX_AGE_MS })
  return {
    issuer,
    audience,
    async verify(token) {
      const { errors, jwtVerify } = await loadJose()
      try {
        const { payload } = await jwtVerify(
          token,
          (header, jws) => {
            // jose would verify a token without a key ID if the set has exactly one key.
            if (header.kid === undefined) throw new errors.JWSInvalid('the token has no key ID')
            return keys.find(header, jws) as Promise<CryptoKey>
          },
          {
            algorithms: ALGORITHMS,
            issuer,
            audience,
            requiredClaims: ['exp', 'sub'],
            currentDate: new Date(clock()),
          },
        )
        const subject: unknown = payload.sub
        if (typeof subject !== 'string') throw new errors.JWSInvalid('its "sub" is no text')
        return { subject }
      } catch (error) {
        if (isPgIamError(error)) throw error
        return faultOf(error as JoseFailure)
      }
    },
  }
}

const KEYS_MAX_AGE_MS = 300_000

/** See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512']

/** An error from jose, or from reading the issuer's keys. */
interface JoseFailure {
  readonly code?: unknown
  readonly claim?: unknown
  readonly reason?: unknown
}

function faultOf({ code, claim, reason }: JoseFailure): WebIdentityFault {
  switch (code) {
    case 'ERR_JWT_EXPIRED':
      return { code: 'ExpiredTokenException', explanation: 'Token expired' }
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      return wrongClaim(String(claim), reason === 'missing')
    case 'ERR_JWKS_NO_MATCHING_KEY':
      return invalid('The issuer does not publish the signing key of the token')
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return invalid('The signature does not match the signing key of the token')
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
      return invalid(`The token must be signed with one of ${ALGORITHMS.join(', ')}`)
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
    case 'ERR_JOSE_NOT_SUPPORTED':
    case 'ERR_JWKS_MULTIPLE_MATCHING_KEYS':
      return invalid('The token is not a JSON Web Token of the issuer')
    default:
      return {
        code: 'IDPCommunicationError',
        explanation: 'The keys of the issuer could not be read',
      }
  }
}

function wrongClaim(claim: string, isMissing: boolean): WebIdentityFault {
  if (isMissing) return invalid(`Missing a required claim: ${claim}`)
  switch (claim) {
    case 'iss':
      return invalid('No OpenIDConnect provider found in your account for the issuer of the token')
    case 'aud':
      return invalid('Incorrect token audience')
    default:
      return rejected(`The claim "${claim}" of the token is not valid`)
  }
}

function invalid(explanation: string): WebIdentityFault {
  return { code: 'InvalidIdentityToken', explanation }
}

function rejected(explanation: string): WebIdentityFault {
  return { code: 'IDPRejectedClaim', explanation }
}

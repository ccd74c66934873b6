/** Cloud SQL for PostgreSQL endpoints: options and login verification. */
import { createHash, randomBytes } from 'node:crypto'
import {
  type Check,
  checkOptions,
  describeValue,
  invalidOption,
  matching,
  oneOf,
  secureUrl,
} from '../../core/options/check.js'
import {
  databaseUser,
  type GoogleAuthClient,
  LOGIN_SCOPE,
} from '../../core/providers/cloud-sql/token.js'
import type { ServerError } from '../../wire/error-response.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  requiredOption,
} from './endpoint.js'
import {
  fatal,
  POSTGRES_ERRORS,
  type ProviderErrors,
  type RefusalReason,
  unencrypted,
} from './refusal.js'
import { accepted, cleartextToken, denied, type Denied, type Verifier } from './verifier.js'

export interface CloudSqlEndpoint extends CommonEndpointOptions {
  provider: 'cloud-sql'
  /**
   * The e-mail addresses of the accounts that may log in, at least one. Each may log in as the role with the name of its address,
   * which for a service account omits `.gserviceaccount.com`.
   */
  principals: readonly string[]
  /**
   * The URL that looks up the account of a token: `https://oauth2.googleapis.com/tokeninfo`, or a compatible URL on this machine.
   * Default: the gateway issues its own tokens, which `gateway.login()` uses.
   */
  tokenInfo?: string
}

export const cloudSqlEndpoint: EndpointDefinition<CloudSqlEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return {
      ...given,
      provider: 'cloud-sql',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
      principals: requiredOption(given.principals, `${name}.principals`),
    }
  },
  roles: ({ principals }) => principals.map(databaseUser),
  create({ principals, tokenInfo }, { clock }) {
    const own = createOwnTokens(principals[0] ?? '', clock)
    const info = tokenInfo === undefined ? own.info : remoteTokenInfo(tokenInfo)
    return {
      method: cleartextToken(createCloudSqlVerifier({ info, principals, clock })),
      errors: CLOUD_SQL_ERRORS,
      roles: principals.map(databaseUser),
      loginOptions: tokenInfo === undefined ? { credentials: own.client } : {},
    }
  },
}

const emailAddress = matching(/^[^\s@"]+@[^\s@"]+$/, 'an e-mail address')

const accounts: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one e-mail address', value)
  return [...new Set(value.map((item: unknown, index) => emailAddress(item, `${name}[${index}]`)))]
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('cloud-sql'),
  principals: accounts,
  tokenInfo: secureUrl,
} as const

// Verifies tokens the way Cloud SQL for PostgreSQL does.

export interface CloudSqlVerifierSettings {
  info: TokenInfoSource
  /** The e-mail addresses of the accounts that may log in to the instance. */
  principals: readonly string[]
  /** Epoch milliseconds. */
  clock: () => number
}

/** Creates the verifier. */
export function createCloudSqlVerifier({
  info,
  principals,
  clock,
}: CloudSqlVerifierSettings): Verifier {
  return {
    async verify({ token, role }) {
      const refuse = (reason: RefusalReason, explanation: string): Denied =>
        denied(reason, explanation, authenticationFailed(role))
      if (token === '') return refuse('token-missing', 'the password is empty')
      if (!/^[\w.~+/-]+=*$/.test(token))
        return refuse(
          'token-malformed',
          'the password has characters that are invalid in an access token',
        )
      let found: TokenInfo | undefined
      try {
        found = await info(token)
      } catch {
        return refuse('verifier-failed', 'the account of the token could not be looked up')
      }
      if (found === undefined)
        return refuse('token-unknown', 'the token was never issued, has expired or was revoked')
      const { email, scopes, expiresAt } = found
      if (clock() >= expiresAt)
        return refuse('token-expired', `the token expired at ${new Date(expiresAt).toISOString()}`)
      if (!scopes.some((scope) => SCOPES.includes(scope)))
        return refuse('scope-wrong', 'the token has no scope that allows database logins')
      if (!principals.includes(email))
        return refuse('principal-unknown', `${describeValue(email)} may not log in to the instance`)
      if (role !== databaseUser(email))
        return refuse('user-wrong', `the token belongs to ${describeValue(email)}`)
      return accepted(email, {
        fingerprint: createHash('sha256').update(token).digest(),
        expiresAt,
      })
    },
  }
}

/** The scope for database logins, and scopes that include it. See https://cloud.google.com/sql/docs/postgres/iam-logins */
const SCOPES = [
  LOGIN_SCOPE,
  'https://www.googleapis.com/auth/sqlservice.admin',
  'https://www.googleapis.com/auth/cloud-platform',
]

// The errors that Cloud SQL for PostgreSQL sends to its clients.

/**
 * The message is the same for every fault; the reason is in the log of the instance only.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins#troubleshoot. The SQLSTATE is derived from driver errors in public
 * reports, such as asyncpg's InvalidAuthorizationSpecificationError.
 */
function authenticationFailed(role: string): ServerError {
  const kind = isServiceAccount(role) ? 'service account' : 'user'
  return fatal('28000', `Cloud SQL IAM ${kind} authentication failed for user "${role}"`)
}

/** Recognizes service accounts by name: `NAME@PROJECT.iam`, and `NUMBER-compute@developer` of Compute Engine. */
function isServiceAccount(role: string): boolean {
  return /@(.+\.iam|developer)$/.test(role)
}

/** As in https://cloud.google.com/sql/docs/postgres/iam-logins#troubleshoot */
const CLOUD_SQL_ERRORS: ProviderErrors = {
  ...POSTGRES_ERRORS,
  tlsRequired: (client) =>
    fatal('28000', `pg_hba.conf rejects connection for ${unencrypted(client)}`),
}

// The gateway issues its own access tokens if no "tokenInfo" is given: for development without Google Cloud.

interface OwnTokens {
  readonly info: TokenInfoSource
  /** Issues tokens for the account that it was created for. */
  readonly client: GoogleAuthClient & { readonly email: string }
}

/** @param clock epoch milliseconds */
function createOwnTokens(email: string, clock: () => number): OwnTokens {
  const issued = new Map<string, TokenInfo>()
  const credentials: { expiry_date?: number } = {}
  const deleteExpired = (): void => {
    for (const [token, { expiresAt }] of issued) if (expiresAt <= clock()) issued.delete(token)
  }
  return {
    info: (token) => Promise.resolve(issued.get(token)),
    client: {
      email,
      credentials,
      getAccessToken() {
        deleteExpired()
        const token = `ya29.gateway.${randomBytes(48).toString('base64url')}`
        credentials.expiry_date = clock() + LIFE_MS
        issued.set(token, { email, scopes: [LOGIN_SCOPE], expiresAt: credentials.expiry_date })
        return Promise.resolve({ token })
      },
    },
  }
}

const LIFE_MS = 3_600_000

// Google's access tokens are opaque: their account, scopes and expiry have to be looked up.

interface TokenInfo {
  /** The account of the token. */
  readonly email: string
  readonly scopes: readonly string[]
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

/** Resolves with `undefined` for an unknown, expired or revoked token. Rejects if the look-up fails. */
type TokenInfoSource = (token: string) => Promise<TokenInfo | undefined>

/**
 * Looks up tokens at Google or a compatible URL, as `getTokenInfo` of google-auth-library does. The token is in a header, because
 * URLs appear in access logs.
 */
export function remoteTokenInfo(url: string): TokenInfoSource {
  return async (token) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/x-www-form-urlencoded',
      },
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (response.status === 400) return undefined
    if (!response.ok)
      throw new Error(`the token info endpoint responded with status ${response.status}`)
    return parseTokenInfo(await response.json())
  }
}

const TIMEOUT_MS = 5_000

/** Google encodes numbers and booleans as strings. */
function parseTokenInfo(answer: unknown): TokenInfo {
  const { email, email_verified: verified, scope, exp } = (answer ?? {}) as Record<string, unknown>
  const expiresAt = Number(exp) * 1_000
  if (typeof email !== 'string' || String(verified) === 'false')
    throw new Error('the token info has no verified e-mail address')
  if (typeof scope !== 'string' || !(expiresAt > 0))
    throw new Error('the token info has no scope or no expiry')
  return { email, scopes: scope.split(' '), expiresAt }
}

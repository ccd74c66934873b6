/** Endpoints of Cloud SQL for PostgreSQL: their options, and their logins. */
import { createHash, randomBytes } from 'node:crypto'
import {
  type Check,
  checkOptions,
  describeValue,
  invalidOption,
  matching,
  oneOf,
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
  secureUrl,
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
   * The e-mail addresses of the accounts that may log in here, at least one. Each may log in as one role: its address, for a
   * service account without `.gserviceaccount.com`.
   */
  principals: readonly string[]
  /**
   * Who says whose a token is: `https://oauth2.googleapis.com/tokeninfo`, or an address of this machine that answers as that does.
   * Default: the gateway gives tokens of its own, which `gateway.login()` uses.
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
      errors: CLOUD_SQL_ANSWERS,
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

// Checks a login's token as Cloud SQL for PostgreSQL would.

export interface CloudSqlVerifierSettings {
  info: TokenInfoSource
  /** The e-mail addresses of those who may log in to the instance. */
  principals: readonly string[]
  /** Epoch milliseconds. */
  clock: () => number
}

/** Creates the check. */
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
        return refuse('token-malformed', 'the password has characters that no access token has')
      let found: TokenInfo | undefined
      try {
        found = await info(token)
      } catch {
        return refuse('verifier-failed', 'nobody could be asked whose the token is')
      }
      if (found === undefined)
        return refuse('token-unknown', 'the token was never issued, has ended, or was revoked')
      const { email, scopes, expiresAt } = found
      if (clock() >= expiresAt)
        return refuse('token-expired', `the token ended at ${new Date(expiresAt).toISOString()}`)
      if (!scopes.some((scope) => SCOPES.includes(scope)))
        return refuse('scope-wrong', 'the token is for no scope with which one may log in')
      if (!principals.includes(email))
        return refuse('principal-unknown', `${describeValue(email)} may not log in to the instance`)
      if (role !== databaseUser(email))
        return refuse('user-wrong', `the token is one of ${describeValue(email)}`)
      return accepted(email, {
        fingerprint: createHash('sha256').update(token).digest(),
        expiresAt,
      })
    },
  }
}

/** The scope of logins, and those that hold it. See https://cloud.google.com/sql/docs/postgres/iam-logins */
const SCOPES = [
  LOGIN_SCOPE,
  'https://www.googleapis.com/auth/sqlservice.admin',
  'https://www.googleapis.com/auth/cloud-platform',
]

// What Cloud SQL for PostgreSQL tells the clients whose tokens it does not take.

/**
 * One text whatever the fault; what that was is in the log of the instance only.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins#troubleshoot. The SQLSTATE is what drivers make of it in public, such
 * as the InvalidAuthorizationSpecificationError of asyncpg.
 */
function authenticationFailed(role: string): ServerError {
  const kind = isServiceAccount(role) ? 'service account' : 'user'
  return fatal('28000', `Cloud SQL IAM ${kind} authentication failed for user "${role}"`)
}

/** By its name: `NAME@PROJECT.iam`, and `NUMBER-compute@developer` of Compute Engine. */
function isServiceAccount(role: string): boolean {
  return /@(.+\.iam|developer)$/.test(role)
}

/** As in https://cloud.google.com/sql/docs/postgres/iam-logins#troubleshoot */
const CLOUD_SQL_ANSWERS: ProviderErrors = {
  ...POSTGRES_ERRORS,
  tlsRequired: (client) =>
    fatal('28000', `pg_hba.conf rejects connection for ${unencrypted(client)}`),
}

// The gateway as the giver of access tokens, where it is told of no other: for development without Google Cloud.

interface OwnTokens {
  readonly info: TokenInfoSource
  /** Gives tokens of the one account that it was made for. */
  readonly client: GoogleAuthClient & { readonly email: string }
}

/** @param clock epoch milliseconds */
function createOwnTokens(email: string, clock: () => number): OwnTokens {
  const given = new Map<string, TokenInfo>()
  const credentials: { expiry_date?: number } = {}
  const forgetEnded = (): void => {
    for (const [token, { expiresAt }] of given) if (expiresAt <= clock()) given.delete(token)
  }
  return {
    info: (token) => Promise.resolve(given.get(token)),
    client: {
      email,
      credentials,
      getAccessToken() {
        forgetEnded()
        const token = `ya29.gateway.${randomBytes(48).toString('base64url')}`
        credentials.expiry_date = clock() + LIFE_MS
        given.set(token, { email, scopes: [LOGIN_SCOPE], expiresAt: credentials.expiry_date })
        return Promise.resolve({ token })
      },
    },
  }
}

const LIFE_MS = 3_600_000

// What Google says of an access token, which says nothing by itself.

interface TokenInfo {
  /** Whose it is. */
  readonly email: string
  readonly scopes: readonly string[]
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

/** Resolves with `undefined` for a token that nobody knows, or does not know any more. Rejects where that cannot be found out. */
type TokenInfoSource = (token: string) => Promise<TokenInfo | undefined>

/**
 * Asks Google, or what stands in for it, as `getTokenInfo` of google-auth-library does: the token is in a header, where it does not
 * get into logs of addresses.
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
    if (!response.ok) throw new Error(`the token info came with status ${response.status}`)
    return parseTokenInfo(await response.json())
  }
}

const TIMEOUT_MS = 5_000

/** Google writes numbers and truth as text. */
function parseTokenInfo(answer: unknown): TokenInfo {
  const { email, email_verified: verified, scope, exp } = (answer ?? {}) as Record<string, unknown>
  const expiresAt = Number(exp) * 1_000
  if (typeof email !== 'string' || String(verified) === 'false')
    throw new Error('the token info name no e-mail address that was verified')
  if (typeof scope !== 'string' || !(expiresAt > 0))
    throw new Error('the token info have no scope or no end')
  return { email, scopes: scope.split(' '), expiresAt }
}

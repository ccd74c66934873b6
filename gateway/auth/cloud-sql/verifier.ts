/** Checks a login's token as Cloud SQL for PostgreSQL would. */
import { createHash } from 'node:crypto'
import { describeValue } from '../../../core/redact.js'
import { LOGIN_SCOPE } from '../../../core/providers/cloud-sql/credential.js'
import { databaseUser } from '../../../core/providers/cloud-sql/user-name.js'
import type { RefusalReason } from '../refusal.js'
import { accepted, denied, type Denied, type Verifier } from '../verifier.js'
import { authenticationFailed } from './answers.js'
import type { TokenInfo, TokenInfoSource } from './token-info.js'

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

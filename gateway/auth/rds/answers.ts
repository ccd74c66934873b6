/** What RDS and Aurora PostgreSQL tell their clients. */
import type { ServerError } from '../../wire/server-error.js'
import { POSTGRES_ANSWERS, unencrypted, type ProviderAnswers } from '../answers.js'
import { fatal } from '../refusal.js'

/**
 * RDS's answer to a token that it does not take, one message whatever the fault:
 * https://repost.aws/knowledge-center/aurora-postgresql-connect-iam
 */
export function pamFailed(role: string): ServerError {
  return fatal('28000', `PAM authentication failed for user "${role}"`)
}

/**
 * Roles that log in with tokens (those granted `rds_iam`) are turned away without TLS by a rule of their own, which shows in
 * the words: "rejects", as in https://github.com/rust-postgres/rust-postgres/issues/1108, instead of "no entry" for all others,
 * as in https://github.com/beekeeper-studio/beekeeper-studio/issues/2327. Versions before 14 said "SSL off" at the end.
 *
 * @param logsInByToken tells the roles that were granted `rds_iam`
 */
export function rdsAnswers(logsInByToken: (role: string) => boolean): ProviderAnswers {
  return {
    ...POSTGRES_ANSWERS,
    tlsRequired: (client) =>
      logsInByToken(client.role)
        ? fatal('28000', `pg_hba.conf rejects connection for ${unencrypted(client)}`)
        : POSTGRES_ANSWERS.tlsRequired(client),
  }
}

/** What Cloud SQL for PostgreSQL tells the clients whose tokens it does not take. */
import type { ServerError } from '../../wire/server-error.js'
import { POSTGRES_ANSWERS, unencrypted, type ProviderAnswers } from '../answers.js'
import { fatal } from '../refusal.js'

/**
 * One text whatever the fault; what that was is in the log of the instance only.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins#troubleshoot. The SQLSTATE is what drivers make of it in public, such
 * as the InvalidAuthorizationSpecificationError of asyncpg.
 */
export function authenticationFailed(role: string): ServerError {
  const kind = isServiceAccount(role) ? 'service account' : 'user'
  return fatal('28000', `Cloud SQL IAM ${kind} authentication failed for user "${role}"`)
}

/** By its name: `NAME@PROJECT.iam`, and `NUMBER-compute@developer` of Compute Engine. */
function isServiceAccount(role: string): boolean {
  return /@(.+\.iam|developer)$/.test(role)
}

/** As in https://cloud.google.com/sql/docs/postgres/iam-logins#troubleshoot */
export const CLOUD_SQL_ANSWERS: ProviderAnswers = {
  ...POSTGRES_ANSWERS,
  tlsRequired: (client) =>
    fatal('28000', `pg_hba.conf rejects connection for ${unencrypted(client)}`),
}

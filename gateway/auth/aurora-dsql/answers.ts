/** What Aurora DSQL tells its clients. */
import type { ServerError } from '../../wire/server-error.js'
import type { ProviderAnswers } from '../answers.js'
import { fatal } from '../refusal.js'

/**
 * Aurora DSQL's answer to a token that it does not take: one message whatever the fault, SQLSTATE 08006, and in some cases
 * a hint. AWS documents the hints (https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html); message
 * and SQLSTATE are what drivers print in public reports, such as https://github.com/dbcodeio/public/issues/637
 */
export function accessDenied(hint?: string): ServerError {
  return fatal('08006', 'unable to accept connection, access denied', hint)
}

/** The same from the mapping of IAM principals to database roles, which public reports show with SQLSTATE 28000. */
export function roleDenied(): ServerError {
  return fatal('28000', 'unable to accept connection, access denied')
}

export const AURORA_DSQL_ANSWERS: ProviderAnswers = {
  tlsRequired: () =>
    fatal('28000', 'unable to accept connection, TLS is required', 'Use sslmode=verify-full.'),
  // Text and SQLSTATE as in https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
  tooManyConnections: () =>
    fatal('53300', 'Unable to accept connection, too many open connections.'),
}

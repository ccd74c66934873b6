/** What clients of an endpoint are told where the token is not the reason. */
import type { ServerError } from '../wire/server-error.js'
import { fatal } from './refusal.js'

/** The words of one provider. */
export interface ProviderAnswers {
  /** To a client that began its login without TLS. */
  tlsRequired(client: UnencryptedClient): ServerError
  /** To a client for which there is no room. */
  tooManyConnections(): ServerError
}

export interface UnencryptedClient {
  readonly role: string
  readonly database: string
  /** Its network address. */
  readonly address: string
}

/**
 * PostgreSQL's own words, of version 14 and later for a connection without TLS: see `ClientAuthentication` in
 * https://github.com/postgres/postgres/blob/master/src/backend/libpq/auth.c
 */
export const POSTGRES_ANSWERS: ProviderAnswers = {
  tlsRequired: (client) => fatal('28000', `no pg_hba.conf entry for ${unencrypted(client)}`),
  tooManyConnections: () => fatal('53300', 'sorry, too many clients already'),
}

/** A connection without TLS as PostgreSQL describes it. */
export function unencrypted({ role, database, address }: UnencryptedClient): string {
  return `host "${address}", user "${role}", database "${database}", no encryption`
}

/** What Azure Database for PostgreSQL tells the clients whose tokens it does not take. */
import type { ServerError } from '../../wire/server-error.js'
import type { RefusalReason } from '../refusal.js'
import { fatal } from '../refusal.js'

/**
 * The texts are those of public reports, such as https://github.com/microsoft/azuredatastudio-postgresql/issues/505 (audience),
 * https://github.com/darold/ora2pg/issues/1851 (expiry), https://github.com/microsoft/vscode-pgsql/issues/183 (object ID),
 * https://github.com/cyrilgdn/terraform-provider-postgresql/issues/60 (anything else). They show no SQLSTATE; it is the one that
 * PostgreSQL has for such a refusal.
 *
 * @param resource what a token must be for
 */
export function tokenRefused(
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

/** As in https://github.com/microsoft/azuredatastudio-postgresql/issues/246, where the user name was that of somebody else. */
export function roleRefused(role: string): ServerError {
  return fatal('28P01', `password authentication failed for user "${role}"`)
}

function invalid(message: string): ServerError {
  return fatal('28000', message)
}

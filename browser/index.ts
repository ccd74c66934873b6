/** The exports of `'pg-iam'` in a browser. */
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import {
  auroraDsql as auroraDsqlOfNode,
  type AuroraDsqlOptions,
} from '../core/providers/aurora-dsql.js'

/**
 * Returns a login to an Aurora DSQL cluster, as in Node. A browser has no environment, no files and no metadata service, so `credentials`
 * must be given: a function that gets short-lived credentials with few rights from the application's server. See docs/websocket.md.
 *
 * @throws PgIamError `ERR_OPTION_INVALID` without `credentials`, `ERR_OPTION_CONFLICT` for `assumeRole` and `profile`, and as in Node
 */
export function auroraDsql(options: AuroraDsqlOptions = {}): Login {
  const { credentials, customCredentialsProvider } = options
  for (const name of ['assumeRole', 'profile'] as const)
    if (options[name] !== undefined)
      throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given in a browser`, {
        hint: 'Let your server assume the role, and hand out its credentials.',
      })
  if (credentials === undefined && customCredentialsProvider === undefined)
    throw new PgIamError('ERR_OPTION_INVALID', '"credentials" must be given in a browser', {
      hint: 'Give a function that fetches short-lived credentials from your server.',
    })
  return auroraDsqlOfNode(options)
}

export type { AuroraDsqlOptions } from '../core/providers/aurora-dsql.js'
export type { AwsCredentials, AwsCredentialsProvider } from '../core/providers/aws/credentials.js'
export { customLogin, type CustomLoginOptions } from '../core/providers/custom.js'
export type { GetToken, GivenToken, TokenContext } from '../core/providers/custom.js'
export {
  insertInChunks,
  type InsertInChunksOptions,
} from '../core/transactions/insert-in-chunks.js'
export { isOccConflict } from '../core/transactions/is-occ-conflict.js'
export { retryOnConflict } from '../core/transactions/retry.js'
export type { Retry, RetryOptions } from '../core/transactions/retry.js'
export {
  PgIamError,
  isPgIamError,
  type PgIamErrorCode,
  type PgIamErrorOptions,
} from '../core/errors.js'
export type { Logger } from '../core/events.js'
export type { Login, ProviderName } from '../core/login.js'
export type { LoginStats } from '../core/tokens/token-source.js'
export type { Token } from '../core/tokens/token.js'

/** Aurora DSQL's only isolation level, which some ORMs would set with a statement that it rejects. */
import { PgIamError } from '../errors.js'
import type { Login } from '../login.js'
import { describeValue } from '../options/check.js'

/**
 * Whether a client would set `level` with `SET TRANSACTION` for nothing: Aurora DSQL rejects that statement, also for the level that each of
 * its transactions has. https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html
 */
export function isOnlyLevel(login: Login | undefined, level: unknown): boolean {
  return (
    login?.provider === 'aurora-dsql' &&
    typeof level === 'string' &&
    level.toLowerCase().replaceAll(/[^a-z]/g, '') === 'repeatableread'
  )
}

/** Removes the level from the options of a transaction if it is the only one. Any other one is left to the database, which rejects it. */
export function withoutOnlyLevel<T extends { isolationLevel?: unknown }>(
  login: Login | undefined,
  options: T,
): Omit<T, 'isolationLevel'> | T {
  if (!isOnlyLevel(login, options.isolationLevel)) return options
  const { isolationLevel: _level, ...rest } = options
  return rest
}

/**
 * The same for the default level in the options of a client.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` for a level with which no transaction could begin
 */
export function withoutDefaultLevel<T extends { isolationLevel?: unknown }>(
  login: Login,
  options: T,
): Omit<T, 'isolationLevel'> | T {
  const { isolationLevel: level } = options
  const isOther = level !== undefined && level !== null && !isOnlyLevel(login, level)
  if (login.provider === 'aurora-dsql' && isOther)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"isolationLevel" must be "REPEATABLE READ" for Aurora DSQL, which has no other level, got ${describeValue(level)}`,
      { hint: 'Remove it: transactions of Aurora DSQL are REPEATABLE READ.' },
    )
  return withoutOnlyLevel(login, options)
}

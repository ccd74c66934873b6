/** What a server says by the SQLSTATE with which it refuses a connection. */

/**
 * It has too many connections, or too many at once, and will have a place for this one: "too many open connections" and "rate
 * exceeded" of Aurora DSQL; PostgreSQL uses the first for its own limit.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
export function isTooMany(sqlState: string | undefined): boolean {
  return sqlState === '53300' || sqlState === '53400'
}

/** It has too many connections, is short of something else, or is starting or shutting down: another server may do better. */
export function isForAnother(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(53|57P0[123])/.test(sqlState)
}

/**
 * It does not take the token, or the role: PostgreSQL's class 28, and the 08006 of Aurora DSQL, "unable to accept connection,
 * access denied". Credentials that were taken back look like this.
 */
export function isDenied(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(28...|08006)$/.test(sqlState)
}

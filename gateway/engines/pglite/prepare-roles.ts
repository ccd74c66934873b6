/** Makes the login roles, and takes from everybody what sessions that share one connection must not have. */
import { rowsOf } from './sql-reply.js'
import { catalogQuery, identifier } from '../../sql/sql-text.js'

/**
 * `admin` owns the database and can create roles, and is no superuser. The others may create objects in schema `public`, as
 * applications do that bring their own migrations. Whatever is there already stays as it is.
 *
 * @param query runs SQL as the superuser
 */
export function prepareRoles(
  query: (sql: string) => Buffer,
  database: string,
  roles: readonly string[],
): void {
  const wanted = ['admin', ...roles.filter((role) => role !== 'admin')]
  const existing = new Set(
    rowsOf(query(catalogQuery('SELECT rolname FROM pg_catalog.pg_roles'))).flat(),
  )
  for (const role of wanted) {
    if (existing.has(role)) continue
    query(`CREATE ROLE ${identifier(role)} LOGIN ${role === 'admin' ? 'CREATEROLE' : ''}`)
    if (role === 'admin') {
      query(`ALTER DATABASE ${identifier(database)} OWNER TO admin`)
    } else {
      query(`GRANT CREATE ON SCHEMA public TO ${identifier(role)}`)
      // As if admin had created it, which lets admin grant to it and drop it.
      query(`GRANT ${identifier(role)} TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`)
    }
  }
  // A lock of a session would be everybody's here. Those of a transaction end with its turn.
  for (const lock of rowsOf(query(SESSION_LOCKS)).flat())
    query(`REVOKE EXECUTE ON FUNCTION pg_catalog.${lock} FROM PUBLIC`)
}

/** With `pg_catalog` in the search path the names of the functions come without it. */
const SESSION_LOCKS = catalogQuery(`SELECT oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc
  WHERE pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
    AND proname OPERATOR(pg_catalog.~) '^pg_(try_)?advisory_lock(_shared)?$'`)

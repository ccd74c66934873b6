/**
 * Creates the roles that clients log in as, and prevents clients from becoming other roles.
 *
 * PGlite has one backend, whose authenticated user is always the bootstrap superuser (OID 10). PostgreSQL allows SET SESSION AUTHORIZATION
 * if the authenticated user is a superuser, also within functions. Therefore the row of that superuser is deleted from `pg_authid` while
 * clients run. PostgreSQL then does not treat it as a superuser, and rejects every SET SESSION AUTHORIZATION with 42501. Two functions
 * of another superuser, which no client can become, delete and restore the row.
 */
import { createHash, randomBytes } from 'node:crypto'
import { PgIamError } from '../../../core/errors.js'
import { catalogQuery, identifier, literal } from '../../../core/sql.js'
import type { OwnReply } from './replies.js'

/** Runs the engine's own SQL. */
export type RunSql = (sql: string) => Promise<OwnReply>

/** The SQL that changes the session user of the backend. */
export interface Authority {
  /** The SQL that makes `role` the session user. It is atomic if it is sent as one simple query. */
  become(role: string): string
  /** The SQL that restores the superuser, so that the data directory can be used by others. */
  readonly release: string
}

/** The schema of the functions, and the superuser that owns them, as which no client can log in. */
const KEEPER = 'pglite_keeper'

/**
 * Creates the functions, as the superuser.
 *
 * Clients can call only `lock`, which merely deletes the row. `unlock` requires the secret of this start, of which only the hash is
 * stored. `open` can be executed only by OID 10, which no client can be.
 */
async function createKeeper(run: RunSql): Promise<void> {
  const body = (sql: string): string =>
    `SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ${literal(sql)}`
  await runAll(run, [
    `CREATE ROLE ${KEEPER} SUPERUSER`,
    `CREATE SCHEMA ${KEEPER} AUTHORIZATION ${KEEPER}`,
    `GRANT USAGE ON SCHEMA ${KEEPER} TO PUBLIC`,
    `SET ROLE ${KEEPER}`,
    `CREATE FUNCTION ${KEEPER}.lock() RETURNS void LANGUAGE sql ${body(
      'DELETE FROM pg_catalog.pg_authid WHERE oid = 10',
    )}`,
    `CREATE FUNCTION ${KEEPER}.open() RETURNS void LANGUAGE sql ${body(
      `INSERT INTO pg_catalog.pg_authid (oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit)
        SELECT 10, 'postgres', true, true, true, true, true, true, true, -1 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_authid WHERE oid = 10)`,
    )}`,
    `REVOKE ALL ON FUNCTION ${KEEPER}.open() FROM PUBLIC`,
    `GRANT EXECUTE ON FUNCTION ${KEEPER}.open() TO postgres`,
    'RESET ROLE',
    // Besides superusers, only members of these roles may access the server's file system and run programs.
    `DELETE FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program']::pg_catalog.name[])`,
  ])
}

/**
 * Prepares the database for clients, and makes its superuser unreachable. Runs as OID 10, at every start.
 *
 * `admin` owns the database and can create roles, but is not a superuser. The other roles may create schemas, and objects in schema
 * `public`, for applications that run their own migrations. Existing roles are not changed.
 */
export async function lockRoles(
  run: RunSql,
  database: string,
  roles: readonly string[],
): Promise<Authority> {
  const secret = randomBytes(32).toString('hex')
  const hash = createHash('sha256').update(secret).digest('hex')
  const keeper = `SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) '${KEEPER}'`
  const { rows } = await checked(run, keeper)
  // Restores the superuser if PGlite did not shut down cleanly.
  if (rows.length > 0) await checked(run, `SELECT ${KEEPER}.open()`)
  else await createKeeper(run)
  await runAll(run, [
    `CREATE OR REPLACE FUNCTION ${KEEPER}.unlock(secret text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ${literal(
      `BEGIN
        IF encode(sha256(convert_to(secret, 'UTF8')), 'hex') <> '${hash}' THEN RAISE insufficient_privilege; END IF;
        PERFORM ${KEEPER}.open();
      END`,
    )}`,
    `ALTER FUNCTION ${KEEPER}.unlock(text) OWNER TO ${KEEPER}`,
  ])
  await createRoles(run, database, roles)
  await checked(run, `ALTER DATABASE ${identifier(database)} OWNER TO admin`)
  return {
    // One simple query is one transaction, so no client statement runs while the row exists.
    become: (role) =>
      `SELECT ${KEEPER}.unlock(${literal(secret)}); SET SESSION AUTHORIZATION ${identifier(role)}; SELECT ${KEEPER}.lock()`,
    release: `SELECT ${KEEPER}.unlock(${literal(secret)})`,
  }
}

/** Creates the missing login roles. Runs as a superuser. */
export async function createRoles(
  run: RunSql,
  database: string,
  roles: readonly string[],
): Promise<void> {
  const { rows } = await checked(run, catalogQuery('SELECT rolname FROM pg_catalog.pg_roles'))
  const existing = new Set(rows.flat())
  // `admin` comes first, because the statements for the other roles refer to it.
  const wanted = ['admin', ...roles.filter((role) => role !== 'admin')]
  const statements = wanted
    .filter((role) => !existing.has(role))
    .flatMap((role) => {
      const name = identifier(role)
      if (role === 'admin') {
        return [
          'CREATE ROLE admin LOGIN CREATEROLE',
          `GRANT ALL ON DATABASE ${identifier(database)} TO admin`,
          'GRANT ALL ON SCHEMA public TO admin',
        ]
      }
      return [
        `CREATE ROLE ${name} LOGIN`,
        `GRANT CREATE ON SCHEMA public TO ${name}`,
        `GRANT CREATE, TEMPORARY ON DATABASE ${identifier(database)} TO ${name}`,
        // The same as if admin had created the role, so that admin can alter, grant and drop it.
        `GRANT ${name} TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`,
      ]
    })
  await runAll(run, statements)
}

async function runAll(run: RunSql, statements: readonly string[]): Promise<void> {
  for (const sql of statements) await checked(run, sql)
}

async function checked(run: RunSql, sql: string): Promise<OwnReply> {
  const reply = await run(sql)
  if (reply.error === undefined) return reply
  throw new PgIamError('ERR_GATEWAY_ENGINE', 'pglite: the database could not be prepared', {
    cause: reply.error,
  })
}

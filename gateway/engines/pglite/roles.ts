/**
 * Makes the roles that clients log in as, and keeps every client from becoming another role than its own.
 *
 * PGlite has one backend, whose authenticated user is the bootstrap superuser (OID 10) for as long as it lives. PostgreSQL lets whoever
 * has a superuser for authenticated user use SET SESSION AUTHORIZATION, in a function too. So while clients run, that superuser has no
 * row in `pg_authid`: PostgreSQL then knows no name for it, takes it for no superuser, and refuses SET SESSION AUTHORIZATION to everybody
 * with 42501, however it is asked. Two functions of another superuser, which nobody can become, take the row away and put it back.
 */
import { createHash, randomBytes } from 'node:crypto'
import { PgIamError } from '../../../core/errors.js'
import { catalogQuery, identifier, literal } from '../../sql.js'
import type { OwnReply } from './replies.js'

/** Runs SQL of the engine's own. */
export type RunSql = (sql: string) => Promise<OwnReply>

/** Gives the backend to another role. */
export interface Authority {
  /** The SQL that makes `role` the session's user. It is all or nothing where it is one simple query. */
  become(role: string): string
  /** The SQL that puts the superuser back, for whoever opens the data directory next. */
  readonly release: string
}

/** Where the functions are, and the superuser that owns them. The name is no role that a gateway can have. */
const KEEPER = 'pglite_keeper'

/**
 * Makes the functions, as the superuser.
 *
 * Nothing here can be called but `lock`, which takes away what clients must not have. `unlock` wants the secret of this start, of which
 * only the hash is kept, and `open` may only be called by OID 10, which no client can be.
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
    // With PostgreSQL's own programs the file system of the server is for superusers, and for members of these.
    `DELETE FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program']::pg_catalog.name[])`,
  ])
}

/**
 * Makes the database ready for clients, and its superuser unreachable. Runs as OID 10, at every start.
 *
 * `admin` owns the database and can create roles, and is no superuser. The others may create objects in schema `public` and schemas of
 * their own, as applications do that bring their migrations. What is there already stays as it is.
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
  // Superuser again, where PGlite was ended in the middle.
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
    // One simple query is one transaction: no client ever runs while the row is there.
    become: (role) =>
      `SELECT ${KEEPER}.unlock(${literal(secret)}); SET SESSION AUTHORIZATION ${identifier(role)}; SELECT ${KEEPER}.lock()`,
    release: `SELECT ${KEEPER}.unlock(${literal(secret)})`,
  }
}

/** Makes the login roles that are missing. Runs as a superuser. */
export async function createRoles(
  run: RunSql,
  database: string,
  roles: readonly string[],
): Promise<void> {
  const { rows } = await checked(run, catalogQuery('SELECT rolname FROM pg_catalog.pg_roles'))
  const existing = new Set(rows.flat())
  // Those of the others refer to it.
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
        // As if admin had created it, which lets admin grant to it and drop it.
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

/**
 * The statements that pgAdmin, DBeaver, Npgsql and asyncpg's pool send when they connect, through `pg-iam proxy` with the drivers of the first
 * two, on Aurora DSQL and RDS.
 *
 * Statements of one line are those that the clients send. Of the longer ones, it is the catalogs, columns, functions and clauses that count:
 * their text is ours. Sources:
 *
 * - pgAdmin 4: web/pgadmin/utils/driver/psycopg3/connection.py, `_initialize` and `_set_user_info`, bc58657
 * - DBeaver: PostgreDataSource.java, PostgreExecutionContext.java and PostgreDatabase.java of org.jkiss.dbeaver.ext.postgresql, 2428359
 * - pgjdbc: pgjdbc/src/main/java/org/postgresql/jdbc/PgConnection.java, 3a699d5
 * - Npgsql: src/Npgsql/PostgresDatabaseInfo.cs and Internal/NpgsqlConnector.cs, `GenerateResetMessage`, 3cb5804
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { Client } from 'pg'
import { type Running, startCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_URL,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { requirePrograms } from './programs.js'

interface Sent {
  readonly sql: string
  /** The SQLSTATE and the text with which Aurora DSQL refuses it. */
  readonly refused?: string
  /** What it returns. Default: rows. */
  readonly gives?: 'done' | 'no rows'
}

const PGADMIN: readonly Sent[] = [
  {
    sql: "SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'; SET client_encoding='utf-8';",
    // The cursor is at the first result.
    gives: 'done',
    refused: '0A000 setting configuration parameter "bytea_output" not supported',
  },
  { sql: 'SELECT version()' },
  {
    sql: `
      SELECT oid, datname, datallowconn, datistemplate, pg_encoding_to_char(encoding), has_database_privilege(oid, 'CREATE')
      FROM pg_catalog.pg_database WHERE datname = current_database()`,
  },
  {
    sql: 'SELECT gss_authenticated, encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()',
    refused: '0A000 function pg_backend_pid not supported',
  },
  {
    sql: `
      SELECT r.oid, r.rolname, r.rolsuper, r.rolsuper OR r.rolcreaterole, r.rolsuper OR r.rolcreatedb,
        'pg_signal_backend' = ANY (ARRAY(
          WITH RECURSIVE granted AS (
            SELECT oid, rolname FROM pg_roles WHERE oid = r.oid
            UNION ALL
            SELECT m.roleid, o.rolname FROM granted g JOIN pg_auth_members m ON m.member = g.oid JOIN pg_roles o ON o.oid = m.roleid)
          SELECT rolname FROM granted))
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`,
  },
]

const DBEAVER: readonly Sent[] = [
  { sql: 'SELECT current_database()' },
  { sql: 'SELECT version()' },
  { sql: 'SHOW TRANSACTION ISOLATION LEVEL' },
  { sql: 'SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname=?' },
  { sql: 'SELECT current_schema(),session_user' },
  { sql: 'SHOW search_path' },
  { sql: 'SET search_path = "$user",public', gives: 'done' },
  {
    sql: 'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED',
    gives: 'done',
    refused: '0A000 Unsupported isolation level: READ COMMITTED',
  },
  {
    sql: `
      SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n
      LEFT JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass
      ORDER BY n.nspname`,
  },
  {
    sql: `
      SELECT t.oid, t.*, c.relkind, pg_catalog.format_type(nullif(t.typbasetype, 0), t.typtypmod), d.description
      FROM pg_catalog.pg_type t
      LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
      LEFT JOIN pg_catalog.pg_description d ON d.objoid = t.oid
      WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c')`,
  },
  { sql: 'SELECT oid, * FROM pg_catalog.pg_roles ORDER BY oid' },
  { sql: 'SELECT oid, * FROM pg_catalog.pg_am ORDER BY oid' },
  { sql: 'SELECT oid, * FROM pg_catalog.pg_language ORDER BY oid' },
  { sql: 'SELECT oid, * FROM pg_catalog.pg_tablespace ORDER BY oid' },
  { sql: 'SELECT oid, * FROM pg_catalog.pg_foreign_server ORDER BY srvname', gives: 'no rows' },
  {
    sql: `
      SELECT contoencoding, pg_catalog.pg_encoding_to_char(contoencoding)
      FROM pg_catalog.pg_conversion GROUP BY contoencoding ORDER BY 2`,
  },
  {
    sql: `
      SELECT e.oid, x.name, x.default_version FROM pg_catalog.pg_available_extensions x
      LEFT JOIN pg_catalog.pg_extension e ON e.extname = x.name ORDER BY x.name`,
  },
]

const NPGSQL: readonly Sent[] = [
  {
    sql: `
      SELECT version();
      SELECT n.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.element
      FROM (
        SELECT y.*, r.proname,
          CASE WHEN r.proname = 'array_recv' THEN y.typelem
            WHEN y.typtype = 'r' THEN g.rngsubtype
            WHEN y.typtype = 'm' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = y.oid)
            WHEN y.typtype = 'd' THEN y.typbasetype END AS element
        FROM pg_type y
        LEFT JOIN pg_class c ON c.oid = y.typrelid
        LEFT JOIN pg_proc r ON r.oid = y.typreceive
        LEFT JOIN pg_range g ON g.rngtypid = y.oid
        WHERE y.typtype <> 'c' OR c.relkind = 'c') t
      JOIN pg_namespace n ON n.oid = t.typnamespace
      ORDER BY CASE WHEN t.proname = 'array_recv' THEN 5 WHEN t.typtype = 'd' THEN 4 WHEN t.typtype = 'r' THEN 1 ELSE 0 END;
      -- the fields of composite types
      SELECT t.oid, a.attname, a.atttypid FROM pg_type t
      JOIN pg_class c ON c.oid = t.typrelid JOIN pg_attribute a ON a.attrelid = t.typrelid
      WHERE t.typtype = 'c' AND c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY t.oid, a.attnum;
      -- the values of enumerations
      SELECT t.oid, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid ORDER BY t.oid, e.enumsortorder;`,
  },
  { sql: 'DISCARD ALL', gives: 'done', refused: '0A000 unsupported statement: Discard' },
  // In place of DISCARD ALL, if there are prepared statements that it must keep.
  {
    sql: 'SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP',
    gives: 'done',
    refused: '0A000 setting configuration parameter "session_authorization" not supported',
  },
]

const NAMES = { dsql: 'Aurora DSQL', rds: 'RDS' } as const
type Name = keyof typeof NAMES

let databases: CommandDatabases
let proxy: Running

beforeAll(async () => {
  requirePrograms(
    '/usr/bin/java',
    '/usr/share/java/postgresql.jar',
    '/usr/lib/python3/dist-packages/psycopg',
    '/usr/lib/python3/dist-packages/asyncpg',
  )
  databases = await startDatabases()
  const targets = [`dsql=${DSQL_URL}`, `rds=${RDS_URL}`]
  proxy = startCommand(['proxy', '--port', '0', '--no-password', ...targets], {
    env: databases.env,
  })
})
afterAll(async () => {
  await proxy?.stop()
  await databases?.close()
})

async function environment(name: Name): Promise<Record<string, string>> {
  const [, port = ''] = await proxy.printed(new RegExp(String.raw`^${name}: \S+:(\d+)/`, 'm'))
  return {
    PGHOST: '127.0.0.1',
    PGPORT: port,
    PGUSER: 'app',
    PGPASSWORD: '-',
    PGDATABASE: 'postgres',
    PGSSLMODE: 'disable',
  }
}

/** Runs a program with this input. Resolves with the lines that it prints. */
async function linesOf(name: Name, words: readonly string[], input: string): Promise<string[]> {
  const [file = '', ...parameters] = words
  const env = { PATH: process.env['PATH'], ...(await environment(name)) }
  return new Promise((resolve, reject) => {
    const child = execFile(file, parameters, { env }, (error, stdout, stderr) =>
      error === null ? resolve(stdout.trimEnd().split('\n')) : reject(new Error(stderr)),
    )
    child.stdin?.end(input)
  })
}

async function runWithPg(name: Name, sent: readonly Sent[]): Promise<string[]> {
  const { PGPORT } = await environment(name)
  const client = new Client({
    host: '127.0.0.1',
    port: Number(PGPORT),
    user: 'app',
    database: 'postgres',
    client_encoding: 'UTF8',
  })
  await client.connect()
  const lines: string[] = []
  for (const { sql } of sent)
    lines.push(
      await client.query(sql).then(
        (results: unknown) => {
          const [first] = [results].flat() as { rows: unknown[] }[]
          return first!.rows.length > 0 ? 'rows' : 'done'
        },
        ({ code, message }: Error & { code?: string }) => `${code} ${message}`,
      ),
    )
  await client.end()
  return lines
}

const asInput = (sent: readonly Sent[]): string => sent.map(({ sql }) => `${sql}\0`).join('')

const CLIENTS: readonly [
  client: string,
  sent: readonly Sent[],
  run: (name: Name) => Promise<string[]>,
][] = [
  [
    'pgAdmin, with psycopg',
    PGADMIN,
    (name) =>
      linesOf(
        name,
        ['/usr/bin/python3', join(__dirname, 'clients/statements.py'), 'pgAdmin 4'],
        asInput(PGADMIN),
      ),
  ],
  [
    'DBeaver, with the JDBC driver',
    DBEAVER,
    (name) =>
      linesOf(
        name,
        [
          ...['/usr/bin/java', '-XX:TieredStopAtLevel=1', '-cp', '/usr/share/java/postgresql.jar'],
          ...[join(__dirname, 'clients/Statements.java'), 'DBeaver'],
        ],
        asInput(DBEAVER),
      ),
  ],
  ['Npgsql, with pg', NPGSQL, (name) => runWithPg(name, NPGSQL)],
]

describe.each(CLIENTS)('the first statements of %s', (_client, sent, run) => {
  it('are all answered on RDS', async () => {
    expect(await run('rds')).toEqual(sent.map(({ gives = 'rows' }) => gives))
  })

  it('are answered on Aurora DSQL, or refused in the words of the service', async () => {
    expect(await run('dsql')).toEqual(sent.map(({ gives = 'rows', refused }) => refused ?? gives))
  })
})

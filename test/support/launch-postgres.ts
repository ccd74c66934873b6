/** A PostgreSQL server for tests, started like the gateway's, with additional features: TCP, TLS, a superuser. */
import { randomBytes } from 'node:crypto'
import { SILENT } from '../../core/events.js'
import { SUPERUSER } from '../../gateway/engines/postgres/data-directory.js'
import {
  type LaunchOptions,
  launchPostgres as launch,
} from '../../gateway/engines/postgres/launch-postgres.js'
import { noPostgres } from '../../gateway/engines/postgres/postgres-engine.js'
import { identifier, literal } from '../../core/sql.js'

export interface LaunchPostgresOptions extends Pick<
  LaunchOptions,
  'tls' | 'accessRules' | 'settings' | 'isPackageOnly' | 'supervisor'
> {
  /** The login roles to create. Each may create objects in schema `public`. Default: only the superuser. */
  roles?: readonly string[]
  /** A database to create for the tests. Default `postgres`, which every server has. */
  database?: string
}

export interface PostgresServer {
  /** `127.0.0.1`, where every role logs in with {@link password} (SCRAM). */
  readonly host: string
  readonly port: number
  /** The directory of the Unix socket, where no role needs a password. Only root and the server's user can access it. */
  readonly socketDirectory: string
  readonly database: string
  readonly superuser: string
  /** The password of every role for logins over TCP, generated for this server. */
  readonly password: string
  /** The directory of its programs: `postgres`, `initdb`, and `psql` if the machine has it. */
  readonly binDirectory: string
  /** Stops the server immediately and removes its files. Resolves when both are done; may be called repeatedly. */
  close(): Promise<void>
}

/** Many servers run on one machine, and none of them needs fast maintenance. */
export const TEST_SETTINGS: Readonly<Record<string, string>> = {
  autovacuum: 'off',
  shared_buffers: '16MB',
  synchronous_commit: 'off',
}

/** The server ends and its directory is removed when `close` is called, and when this process ends for any reason, including SIGKILL. */
export async function launchPostgres(options: LaunchPostgresOptions = {}): Promise<PostgresServer> {
  const { roles = [], database = 'postgres', settings, ...rest } = options
  const server = await launch({
    ...rest,
    hasTcp: true,
    settings: { ...TEST_SETTINGS, ...settings },
    logger: SILENT,
  })
  if (server === undefined) throw noPostgres()
  try {
    const password = randomBytes(16).toString('hex')
    const logins = roles.map((role) => identifier(role))
    const secret = `PASSWORD ${literal(password)}`
    const statements = [
      `ALTER ROLE ${SUPERUSER} ${secret}`,
      ...logins.map((role) => `CREATE ROLE ${role} LOGIN ${secret}`),
    ]
    await server.query('template1', statements.join(';'))
    if (database !== 'postgres')
      await server.query('template1', `CREATE DATABASE ${identifier(database)}`)
    // Since PostgreSQL 15 only the owner may create objects in schema public.
    if (logins.length > 0)
      await server.query(database, `GRANT CREATE ON SCHEMA public TO ${logins.join(', ')}`)
    return {
      host: '127.0.0.1',
      port: server.port,
      socketDirectory: server.directory,
      database,
      superuser: SUPERUSER,
      password,
      binDirectory: server.programs.directory,
      close: () => server.close(),
    }
  } catch (error) {
    await server.close()
    throw error
  }
}

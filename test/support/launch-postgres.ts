/** A PostgreSQL server for tests, as the gateway starts it, and with what tests need besides: TCP, TLS, a superuser. */
import { randomBytes } from 'node:crypto'
import { SILENT } from '../../core/events.js'
import { SUPERUSER } from '../../gateway/engines/postgres/data-directory.js'
import {
  type LaunchOptions,
  launchPostgres as launch,
} from '../../gateway/engines/postgres/launch-postgres.js'
import { noPostgres } from '../../gateway/engines/postgres/postgres-engine.js'
import { identifier, literal } from '../../gateway/sql.js'

export interface LaunchPostgresOptions extends Pick<
  LaunchOptions,
  'tls' | 'accessRules' | 'settings' | 'isPackageOnly' | 'supervisor'
> {
  /** Login roles to create; each may create objects in schema `public`. Default none but the superuser. */
  roles?: readonly string[]
  /** A database to create for the tests. Default `postgres`, which every server has. */
  database?: string
}

export interface PostgresServer {
  /** `127.0.0.1`, where every role logs in with {@link password} (SCRAM). */
  readonly host: string
  readonly port: number
  /** Holds the Unix socket, where every role logs in without a password; only root and the server's user can enter it. */
  readonly socketDirectory: string
  readonly database: string
  readonly superuser: string
  /** The password of every role for logins over TCP, made for this server. */
  readonly password: string
  /** Where its programs are: `postgres`, `initdb`, and `psql` only where the machine has it. */
  readonly binDirectory: string
  /** Ends the server at once and removes its files. Resolves when both are gone; may be called again. */
  close(): Promise<void>
}

/** Many servers share one machine, and none of them has a history that it must be quick about. */
export const TEST_SETTINGS: Readonly<Record<string, string>> = {
  autovacuum: 'off',
  shared_buffers: '16MB',
  synchronous_commit: 'off',
}

/** The server ends and its directory goes when `close` is called and also when this process ends in any way, SIGKILL included. */
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
    // Since PostgreSQL 15 nobody but the owner may create in schema public.
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

/** A gateway in front of a real PostgreSQL, and administrative access to the PostgreSQL. */
import { Client } from 'pg'
import type { AuroraDsqlOptions, Login } from '../../core/index.js'
import {
  startGateway,
  type Gateway,
  type GatewayOptions,
  type UpstreamOptions,
} from '../../gateway/index.js'
import type { PostgresServer } from '../support/launch-postgres.js'
import { startRelay, type Relay } from '../support/relay.js'
import { eventually } from '../support/eventually.js'

/** The address of the PostgreSQL, for processes that did not start it. */
export type PostgresPlace = Pick<
  PostgresServer,
  'socketDirectory' | 'port' | 'database' | 'superuser'
>

export interface Rig {
  readonly gateway: Gateway
  /** The PostgreSQL, for further gateways. */
  readonly upstream: UpstreamOptions
  /** A relay for all connections of the logins. */
  readonly relay: Relay
  /** A login as the role `app`, to a database with the table `note (id int primary key, body text)`. */
  login(options?: AuroraDsqlOptions): Login
  /** Runs a statement as the administrator. */
  admin(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** The notes in the table, in order. */
  notes(): Promise<number[]>
  /** Kills all backends of `app`, or the given one. Resolves when they have ended. */
  kill(processId?: number): Promise<void>
  /** Takes a lock that `BLOCKED` waits for. Resolves with the function that releases it. */
  lock(): Promise<() => Promise<void>>
  /** Resolves with the backend that waits for the lock. */
  blocked(): Promise<number>
  close(): Promise<void>
}

/** An endpoint in addition to that of Aurora DSQL, for features that only PostgreSQL has, such as SERIALIZABLE. */
export const RDS_HOST = 'notes.abcdefghijkl.us-east-1.rds.amazonaws.com'

/** The key of the lock. */
const KEY = 4_711

/** A statement that waits while the lock is held. */
export const BLOCKED: string = `SELECT pg_advisory_xact_lock(${KEY})`

export async function startRig(
  { socketDirectory, port, database, superuser }: PostgresPlace,
  options: GatewayOptions = {},
): Promise<Rig> {
  const upstream = { host: socketDirectory, port, database }
  const gateway = await startGateway({
    sql: 'postgres',
    webSocket: true,
    upstream,
    clusters: ['abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'],
    endpoints: [{ provider: 'rds', hosts: [RDS_HOST] }],
    ...options,
  })
  const relay = await startRelay(gateway)
  const administrator = new Client({
    host: socketDirectory,
    port,
    user: superuser,
    database,
    ssl: false,
  })
  await administrator.connect()
  const admin = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
    (await administrator.query<Record<string, unknown>>(text, values)).rows
  await admin('CREATE TABLE IF NOT EXISTS note (id int PRIMARY KEY, body text)')
  await admin('GRANT ALL ON note TO app')

  return {
    gateway,
    upstream,
    relay,
    login: (own = {}) =>
      gateway.login({ connectTo: { host: '127.0.0.1', port: relay.port }, ...own }),
    admin,
    notes: async () => (await admin('SELECT id FROM note ORDER BY id')).map(({ id }) => Number(id)),
    async kill(processId) {
      const chosen = `FROM pg_stat_activity WHERE usename = 'app' AND ($1::int IS NULL OR pid = $1)`
      const values = [processId ?? null]
      await admin(`SELECT pg_terminate_backend(pid) ${chosen}`, values)
      await eventually(
        'the backends to go',
        async () => (await admin(`SELECT pid ${chosen}`, values)).length === 0,
      )
    },
    async lock() {
      await admin(`SELECT pg_advisory_lock(${KEY})`)
      return async () => void (await admin(`SELECT pg_advisory_unlock(${KEY})`))
    },
    async blocked() {
      let found: unknown
      await eventually('a statement to be blocked', async () => {
        const [row] = await admin(
          `SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'advisory'`,
        )
        found = row?.['pid']
        return found !== undefined
      })
      return found as number
    },
    async close() {
      await administrator.end()
      await relay.close()
      await gateway.close()
    },
  }
}

/** A gateway in front of a real PostgreSQL, and the hands of an administrator behind it. */
import { Client } from 'pg'
import type { AuroraDsqlOptions, Login } from '../../core/index.js'
import {
  startGateway,
  type Gateway,
  type GatewayOptions,
  type UpstreamOptions,
} from '../../gateway/index.js'
import type { PostgresServer } from '../support/launch-postgres.js'
import { startHeldRelay, type HeldRelay } from './held-relay.js'
import { until } from './until.js'

/** Where the PostgreSQL is, for whoever did not start it. */
export type PostgresPlace = Pick<
  PostgresServer,
  'socketDirectory' | 'port' | 'database' | 'superuser'
>

export interface Rig {
  readonly gateway: Gateway
  /** The PostgreSQL, for further gateways. */
  readonly upstream: UpstreamOptions
  /** Every connection of the logins goes through it. */
  readonly relay: HeldRelay
  /** A login as the role `app`, to a database with the table `note (id int primary key)`. */
  login(options?: AuroraDsqlOptions): Login
  /** Runs a statement as the administrator. */
  admin(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** The notes that are in the table, in order. */
  notes(): Promise<number[]>
  /** Kills the backends of `app`, all or the one; resolves when they are gone. */
  kill(processId?: number): Promise<void>
  /** Takes a lock that `BLOCKED` waits for; resolves with the function that gives it back. */
  lock(): Promise<() => Promise<void>>
  /** Resolves with the backend that waits for the lock. */
  blocked(): Promise<number>
  close(): Promise<void>
}

/** An endpoint beside that of Aurora DSQL, for what only a PostgreSQL does, such as SERIALIZABLE. */
export const RDS_HOST = 'notes.abcdefghijkl.us-east-1.rds.amazonaws.com'

/** The key of the lock. */
const KEY = 4_711

/** A statement that waits while the lock is taken. */
export const BLOCKED: string = `SELECT pg_advisory_xact_lock(${KEY})`

export async function startRig(
  { socketDirectory, port, database, superuser }: PostgresPlace,
  options: GatewayOptions = {},
): Promise<Rig> {
  const upstream = { host: socketDirectory, port, database }
  const gateway = await startGateway({
    upstream,
    clusters: ['abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'],
    endpoints: [{ provider: 'rds', hosts: [RDS_HOST] }],
    ...options,
  })
  const relay = await startHeldRelay(gateway)
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
  await admin('CREATE TABLE IF NOT EXISTS note (id int PRIMARY KEY)')
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
      await until(
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
      await until('a statement to be blocked', async () => {
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

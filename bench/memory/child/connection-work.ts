/** Connections that are opened, used for a query and closed. */
import { Pool, type PoolConfig } from 'pg'
import type { Sql } from 'postgres'
import { createPool } from '../../../adapters/pg.js'
import { createSql } from '../../../adapters/postgres-js.js'
import { customLogin, type Login } from '../../../core/index.js'
import { QUERY } from '../../queries/clients/bench-client.js'
import { sqlOptions, staticSql } from '../../queries/clients/postgres-js.js'
import { openResources, settleTo } from '../../soak/open-resources.js'
import type { ConnectionClient, WorkOrder } from '../growth.js'
import type { Work } from './work.js'

type ConnectionOrder = Extract<WorkOrder, { kind: 'connections' }>

/** At the most so many connections are open at a time. */
const BATCH = 20

export function connectionWork(order: ConnectionOrder): Work {
  const before = openResources()
  const open = WAYS[order.client](order)
  return async (times) => {
    for (let left = times; left > 0; left -= BATCH) await open(Math.min(left, BATCH))
    await settleTo(before)
  }
}

/** Opens and closes so many connections at the same time. */
type OpenBatch = (connections: number) => Promise<void>

const WAYS: Readonly<Record<ConnectionClient, (order: ConnectionOrder) => OpenBatch>> = {
  /** One pool, which closes each connection after its first use. */
  pg: ({ login, server }) => {
    const config: PoolConfig = { max: BATCH, maxUses: 1 }
    const pool =
      login === 'static password'
        ? new Pool({ ...server, ...config })
        : createPool(loginTo(server), config)
    return async (connections) => {
      await Promise.all(Array.from({ length: connections }, () => pool.query(QUERY)))
    }
  },
  /** Postgres.js closes a connection by its age or with all others, so each batch has an instance; the login is one. */
  'Postgres.js': ({ login: kind, server }) => {
    const login = loginTo(server)
    const open = (connections: number): Sql =>
      kind === 'static password'
        ? staticSql(server, connections)
        : (createSql(login, sqlOptions(connections)) as Sql)
    return async (connections) => {
      const sql = open(connections)
      await Promise.all(Array.from({ length: connections }, () => sql.unsafe(QUERY)))
      await sql.end()
    }
  },
}

/** A login whose token is the password, which PostgreSQL asks for and checks. */
function loginTo({ host, port, user, password, database, ssl }: ConnectionOrder['server']): Login {
  return customLogin({
    host: ssl.servername,
    connectTo: { host, port },
    user,
    database,
    tls: { ca: ssl.ca },
    getToken: () => password,
  })
}

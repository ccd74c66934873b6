/** Ways to open connections. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'
import { Pool, type PoolConfig } from 'pg'
import postgres, { type Sql } from 'postgres'
import { createPool } from '../../adapters/pg.js'
import { createSql } from '../../adapters/postgres-js.js'
import { auroraDsql, customLogin, type Login } from '../../core/index.js'
import { CREDENTIALS } from '../frame/surroundings.js'
import type { StaticLogin, TlsPostgres } from '../postgres/tls-postgres.js'
import { staticSql } from '../queries/clients/postgres-js.js'

export interface Opener {
  readonly name: string
  /** Makes a new pool for so many connections, none of which is open yet. */
  create(connections: number): FreshPool
}

export interface FreshPool {
  /** Opens one more connection, and keeps it. */
  open(): Promise<unknown>
  close(): Promise<void>
}

/** Each client, and the baseline of it first. */
export interface OpenerSet {
  readonly client: string
  readonly openers: readonly [Opener, ...Opener[]]
}

export function openerSets(server: TlsPostgres): OpenerSet[] {
  const withPassword = server.staticLogin(server.passwordRole)
  const open = server.staticLogin(server.openRole)
  const ourPassword = (): Login =>
    customLogin({
      ...server.loginOptions(server.passwordRole),
      getToken: () => server.password,
    })
  const ourSigned = (): Login =>
    auroraDsql({ ...server.loginOptions(server.openRole), region: REGION, credentials })
  const { password: _password, ...address } = open
  return [
    {
      client: 'pg, a password asked for',
      openers: [
        pgOpener('static password', (pool) => new Pool({ ...withPassword, ...pool })),
        pgOpener('pg-iam', (pool) => createPool(ourPassword(), pool)),
      ],
    },
    {
      client: 'Postgres.js, a password asked for',
      openers: [
        postgresJsOpener('static password, TCP_NODELAY', (max) =>
          staticSqlWithoutDelay(withPassword, max),
        ),
        postgresJsOpener('static password', (max) => staticSql(withPassword, max)),
        postgresJsOpener('pg-iam', (max) => createSql(ourPassword(), { max }) as Sql),
      ],
    },
    {
      client: 'pg, tokens signed for Aurora DSQL',
      openers: [
        pgOpener('static password', (pool) => new Pool({ ...open, ...pool })),
        pgOpener('pg-iam', (pool) => createPool(ourSigned(), pool)),
        pgOpener('AWS connector', (pool) => {
          const own = { region: REGION, customCredentialsProvider: credentials }
          return new AuroraDSQLPool({ ...address, ...own, ...pool })
        }),
      ],
    },
  ]
}

/**
 * Postgres.js leaves Nagle's algorithm on, so that a login over TLS waits for the server's delayed acknowledgement; pg and pg-iam
 * turn it off. With it off the static password is the best that there is, and so the baseline.
 */
function staticSqlWithoutDelay({ ssl, ...login }: StaticLogin, max: number): Sql {
  const { host, port } = login
  const socket = async (): Promise<Socket> => {
    const dialled = connect({ host, port, noDelay: true })
    await once(dialled, 'connect')
    return dialled
  }
  // A public option that its types leave out.
  const options = { ...login, ssl: { ...ssl }, max, socket }
  return postgres(options) as Sql
}

const REGION = 'us-east-1'
const credentials = async (): Promise<typeof CREDENTIALS> => CREDENTIALS

function pgOpener(name: string, make: (config: PoolConfig) => Pool): Opener {
  return {
    name,
    create(connections) {
      const pool = make({ max: connections, idleTimeoutMillis: 0 })
      const clients: { release(): void }[] = []
      return {
        open: async () => clients.push(await pool.connect()),
        async close() {
          for (const client of clients) client.release()
          await pool.end()
        },
      }
    },
  }
}

function postgresJsOpener(name: string, make: (connections: number) => Sql): Opener {
  return {
    name,
    create(connections) {
      const sql = make(connections)
      const reserved: { release(): void }[] = []
      return {
        open: async () => reserved.push(await sql.reserve()),
        async close() {
          for (const one of reserved) one.release()
          await sql.end()
        },
      }
    },
  }
}

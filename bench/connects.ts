/** `npm run bench:connects`: the time of a new connection, opened at once with others and one by one. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Pool } from 'pg'
import type { Sql } from 'postgres'
import type { TlsNegotiation } from '../core/index.js'
import { openPool } from '../test/clients/pg.js'
import { openSql } from '../test/clients/postgres-js.js'
import { startRelay } from '../test/support/relay.js'
import { average, type Benchmark, type Build } from './benchmark.js'
import {
  CLIENTS,
  pgClient,
  pgSettings,
  QUERY,
  staticSql,
  type BenchClient,
  type BenchPool,
} from './clients.js'
import type { TlsPostgres } from './postgres.js'
import { competitor, type Competitor, type Contest, type Effort } from './rounds.js'

export const connects: Benchmark = async ({ isQuick, build, measure, postgres: started }) => {
  const postgres = await started()
  for (const { how, openAll, connections, effort } of WAYS) {
    const count = isQuick ? 2 : connections
    const competitorOf = ([name, create]: Opener): Competitor =>
      competitor(name, async () => {
        const pool = await create(count)
        const startedAt = performance.now()
        await openAll(pool, count)
        const took = average(startedAt, count)
        await pool.close()
        // Waits, so that the server's work for one competitor does not slow down the next.
        await postgres.untilQuiet()
        return took
      })
    for (const [client, openers] of Object.entries(openersOf(postgres, build))) {
      const [baseline, ...others] = openers.map(competitorOf)
      const contest = { what: `${client}, ${how}`, unit: 'ms a connection' }
      await measure({ ...contest, baseline: baseline!, others }, isQuick ? { rounds: 1 } : effort)
    }
  }
  await behindDelay(postgres, build, (contest) =>
    measure(contest, isQuick ? { rounds: 1 } : { rounds: 15, warmUpRounds: 2 }),
  )
}

/** The delay in each direction: a server in another Region. */
const DELAY_MS = 10

/** From a new pool to the result of its first query, with each way to start TLS, which costs a round trip or none. */
async function behindDelay(
  postgres: TlsPostgres,
  build: Build,
  measure: (contest: Contest) => Promise<unknown>,
): Promise<void> {
  const { passwordLogin } = postgres
  const relay = await startRelay(passwordLogin, { delayMs: DELAY_MS })
  const login = { ...passwordLogin, port: relay.port }
  const first = (name: string, open: () => Promise<BenchPool>): Competitor =>
    competitor(name, async () => {
      const pool = await open()
      const startedAt = performance.now()
      await pool.run(QUERY)
      const took = average(startedAt, 1)
      await pool.close()
      return took
    })
  const ours = async (client: BenchClient, negotiation: TlsNegotiation): Promise<BenchPool> => {
    const own = await postgres.ourLogin(build, { port: relay.port, negotiation })
    return client.openOurs(build, own, 1)
  }
  try {
    for (const [name, client, direct] of [
      ['pg', pgClient, () => openPool(new Pool({ ...login, ...DIRECT, ...pgSettings(1) }))],
      ['postgres-js', CLIENTS['postgres-js']!, () => openSql(staticSql(login, 1, DIRECT))],
    ] as const) {
      await measure({
        what: `${name}, first query, ${2 * DELAY_MS} ms a round trip`,
        unit: 'ms',
        baseline: first('static password', async () => client.openStatic(login, 1)),
        others: [
          first('static password, direct TLS', async () => direct()),
          first('pg-iam', () => ours(client, 'postgres')),
          first('pg-iam, direct TLS', () => ours(client, 'direct')),
        ],
      })
    }
  } finally {
    await relay.close()
  }
}

/** Both drivers have this option. pg's types lack it. */
const DIRECT: object = { sslnegotiation: 'direct' }

const WAYS: readonly {
  how: string
  openAll: (pool: FreshPool, connections: number) => Promise<unknown>
  /** The number of connections in each turn. */
  connections: number
  effort: Effort
}[] = [
  {
    how: 'at once',
    openAll: (pool, connections) =>
      Promise.all(Array.from({ length: connections }, () => pool.open())),
    connections: 100,
    effort: { rounds: 11, warmUpRounds: 1 },
  },
  {
    how: 'one by one',
    async openAll(pool, connections) {
      for (let opened = 0; opened < connections; opened++) await pool.open()
    },
    connections: 20,
    effort: { rounds: 11, warmUpRounds: 1, turns: 5 },
  },
]

interface FreshPool {
  /** Opens one more connection, and keeps it open. */
  open(): Promise<unknown>
  close(): Promise<void>
}

/** Creates a pool for the given number of connections, without opening any. */
type Opener = readonly [name: string, create: (connections: number) => Promise<FreshPool>]

/** The first entry of each client is the baseline. */
function openersOf(server: TlsPostgres, build: Build): Readonly<Record<string, Opener[]>> {
  const { passwordLogin: login } = server
  const socket = async (): Promise<Socket> => {
    const dialled = connect({ host: login.host, port: login.port, noDelay: true })
    await once(dialled, 'connect')
    return dialled
  }
  return {
    pg: [
      ['static password', async (max) => ofPool(new Pool({ ...login, ...pgSettings(max) }))],
      [
        'pg-iam',
        async (max) => {
          const { createPool } = await build('pg')
          return ofPool(createPool(await server.ourLogin(build), pgSettings(max)))
        },
      ],
    ],
    // Postgres.js leaves Nagle's algorithm enabled, so a login over TLS waits for the server's delayed acknowledgement. With it disabled,
    // as in pg and pg-iam, the static password is as fast as possible.
    'postgres-js': [
      ['static password, TCP_NODELAY', async (max) => ofSql(staticSql(login, max, { socket }))],
      ['static password', async (max) => ofSql(staticSql(login, max))],
      [
        'pg-iam',
        async (max) => {
          const { createSql } = await build('postgres-js')
          return ofSql(createSql(await server.ourLogin(build), { max }) as Sql)
        },
      ],
    ],
  }
}

function ofPool(pool: Pool): FreshPool {
  const clients: { release(): void }[] = []
  return {
    open: async () => clients.push(await pool.connect()),
    async close() {
      for (const client of clients) client.release()
      await pool.end()
    },
  }
}

function ofSql(sql: Sql): FreshPool {
  const reserved: { release(): void }[] = []
  return {
    open: async () => reserved.push(await sql.reserve()),
    async close() {
      for (const one of reserved) one.release()
      await sql.end()
    },
  }
}

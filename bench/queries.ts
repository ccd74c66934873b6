/** `npm run bench:queries`: the time of a query through the pool of each client. */
import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'
import {
  average,
  credentials,
  DSQL_HOST,
  ourOptions,
  REGION,
  type Benchmark,
  type Build,
} from './benchmark.js'
import { openPool } from '../test/clients/pg.js'
import { CLIENTS, pgClient, pgSettings, QUERY, type BenchPool } from './clients.js'
import type { TlsPostgres } from './postgres.js'
import type { Competitor } from './rounds.js'

export const queries: Benchmark = async (context) => {
  const { isQuick, build, other, measure } = context
  const { perTurn, effort, tasks } = isQuick ? QUICK : FULL
  const postgres = await context.postgres()
  for (const [client, { openStatic, openOurs }] of Object.entries(CLIENTS)) {
    const ours = (name: string, from: Build, count: number): Competitor =>
      poolCompetitor(name, count, perTurn(count), async () =>
        openOurs(from, await postgres.ourLogin(from), count),
      )
    for (const count of tasks) {
      const withPassword = poolCompetitor('static password', count, perTurn(count), () =>
        openStatic(postgres.passwordLogin, count),
      )
      const contest = {
        what: `${client}, ${tasksText(count)}`,
        unit: 'µs a query',
        baseline: other === undefined ? withPassword : ours(other.name, other.build, count),
        others: [ours('pg-iam', build, count)],
      }
      await measure(contest, effort)
    }
  }
  if (other !== undefined) return
  const pool = (name: string, open: () => BenchPool | Promise<BenchPool>): Competitor =>
    poolCompetitor(name, SIGNED_TASKS, perTurn(SIGNED_TASKS), open)
  const { connector, ours: signed } = dsqlPools(postgres, build, SIGNED_TASKS, credentials)
  const { openLogin } = postgres
  const contest = {
    what: `pg, signed tokens, ${tasksText(SIGNED_TASKS)}`,
    unit: 'µs a query',
    baseline: pool('static password', () => pgClient.openStatic(openLogin, SIGNED_TASKS)),
    others: [pool('pg-iam', signed), pool("AWS's connector", connector)],
  }
  await measure(contest, effort)
}

const SIGNED_TASKS = 5

/**
 * The number of queries per turn, for all tasks: a few fiftieths of a second. The first turn of a round opens connections, and warms
 * PostgreSQL's caches.
 */
const FULL = {
  /** The numbers of tasks. The pool has the same number of connections. */
  tasks: [1, 5, 20],
  perTurn: (tasks: number): number => (tasks === 1 ? 150 : 450),
  effort: { rounds: 11, warmUpRounds: 1, turns: 3, warmUpTurns: 1 },
}
const QUICK: typeof FULL = {
  tasks: [2],
  perTurn: () => 20,
  effort: { rounds: 1, warmUpRounds: 0, turns: 2, warmUpTurns: 1 },
}

function tasksText(count: number): string {
  return `${count} ${count === 1 ? 'task' : 'tasks'}`
}

/** A pool that is opened for each round and runs the queries of several tasks, one query per task at a time. */
export function poolCompetitor(
  name: string,
  tasks: number,
  perTurn: number,
  open: () => BenchPool | Promise<BenchPool>,
): Competitor {
  return {
    name,
    async open() {
      const pool = await open()
      return {
        async sample() {
          let left = perTurn
          const work = async (): Promise<void> => {
            while (left-- > 0) await pool.run(QUERY)
          }
          const startedAt = performance.now()
          await Promise.all(Array.from({ length: tasks }, work))
          return average(startedAt, perTurn) * 1_000
        },
        close: () => pool.close(),
      }
    },
  }
}

/**
 * Pools of pg with tokens signed for Aurora DSQL. PostgreSQL cannot verify them, so this role logs in without a password, and the
 * connections of all competitors are the same.
 */
export function dsqlPools(
  { openLogin }: TlsPostgres,
  build: Build,
  size: number,
  getCredentials: typeof credentials,
): Readonly<Record<'connector' | 'ours', () => Promise<BenchPool>>> {
  return {
    async connector() {
      const { password: _password, ...address } = openLogin
      const own = { region: REGION, customCredentialsProvider: getCredentials }
      return openPool(new AuroraDSQLPool({ ...address, ...own, ...pgSettings(size) }))
    },
    async ours() {
      const { auroraDsql } = await build('core')
      const own = { region: REGION, credentials: getCredentials }
      const { host: servername, tls, ...address } = ourOptions(openLogin)
      const options = { ...address, ...own, host: DSQL_HOST, tls: { ...tls, servername } }
      return pgClient.openOurs(build, auroraDsql(options), size)
    },
  }
}

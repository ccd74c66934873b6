/** `npm run bench:scale`: the cost of one connection and of one token with many of them. */
import { Client } from 'pg'
import type { Login } from '../core/index.js'
import { average, credentials, REGION, type Benchmark, type BenchContext } from './benchmark.js'
import { competitor, type Competitor } from './rounds.js'

export const scale: Benchmark = async (context) => {
  await manyLogins(context)
  await connectionsAtOnce(context)
}

/** CPU time of the client's process, including TLS and pg. The server runs on the same machine at the same time. */
async function connectionsAtOnce(context: BenchContext): Promise<void> {
  const { isQuick, build, measure } = context
  const most = isQuick ? 10 : 1_000
  const postgres = await context.postgres()
  const { createClient } = await build('pg')
  const login = await postgres.ourLogin(build)
  const { passwordLogin: server } = postgres
  // Without a pool, whose own data structures would be measured.
  const opener = (name: string, connections: number, create: () => Client): Competitor =>
    competitor(name, async () => {
      const before = process.cpuUsage()
      const clients = Array.from({ length: connections }, create)
      await Promise.all(clients.map((client) => client.connect()))
      const { user, system } = process.cpuUsage(before)
      await Promise.all(clients.map((client) => client.end()))
      await postgres.untilQuiet()
      return (user + system) / 1_000 / connections
    })
  for (const connections of [most / 10, most]) {
    const contest = {
      what: `${connections.toLocaleString('en-GB')} connections at once`,
      unit: 'ms of processor time a connection',
      baseline: opener(
        'static password',
        connections,
        () => new Client({ ...server, ssl: { ...server.ssl } }),
      ),
      others: [opener('pg-iam', connections, () => createClient(login))],
    }
    await measure(contest, isQuick ? { rounds: 1 } : { rounds: 5, warmUpRounds: 1 })
  }
}

/** Each login has its own database. The logins create new tokens in turn. */
async function manyLogins({ isQuick, build, measure }: BenchContext): Promise<void> {
  const { auroraDsql, entra } = await build('core')
  const azure = {
    getToken: async () => ({ token: TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }),
  }
  const providers: Readonly<Record<string, (index: number) => Login>> = {
    'Aurora DSQL': (index) => {
      const id = String(index).padStart(26, 'bench')
      return auroraDsql({ host: `${id}.dsql.${REGION}.on.aws`, user: 'app', credentials })
    },
    'Entra ID': (index) => {
      const host = `shop${index}.postgres.database.azure.com`
      return entra({ host, user: 'app', credentials: azure, reuseTokenSecs: 0 })
    },
  }
  const { times, effort } = isQuick ? QUICK : FULL
  for (const [provider, create] of Object.entries(providers)) {
    const inTurn = (name: string, count: number): Competitor => {
      const logins = Array.from({ length: count }, (_, index) => create(index))
      return competitor(name, async () => {
        const startedAt = performance.now()
        for (let made = 0; made < times; made++) await logins[made % count]!.token()
        return average(startedAt, times) * 1_000
      })
    }
    const contest = { baseline: inTurn('1 login', 1), others: [inTurn(`${MANY} logins`, MANY)] }
    await measure({ what: `a token for ${provider}`, unit: 'µs', ...contest }, effort)
  }
}

const MANY = 64
const TOKEN = 'token'.repeat(300)
const FULL = { times: 640, effort: { rounds: 31, warmUpRounds: 5 } }
const QUICK = { times: 64, effort: { rounds: 5, warmUpRounds: 2 } }

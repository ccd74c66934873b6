/**
 * `npm run bench:gateway`: PostgreSQL through the gateway, compared with PostgreSQL's own TLS and with a relay.
 *
 * The gateway is a process in front of that server's Unix socket, with the same type of certificate. It verifies an RDS token where
 * PostgreSQL checks a password. The relay only terminates TLS and forwards bytes: no gateway in Node is faster. Both have their own CPU.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client, Pool } from 'pg'
import { average, CREDENTIALS, RDS_HOST, type Benchmark, type BenchContext } from './benchmark.js'
import { openPool } from '../test/clients/pg.js'
import type { Sql } from 'postgres'
import type { Login } from '../core/index.js'
import { pgSettings, QUERY } from './clients.js'
import type { GatewayOrder, GatewayReady } from './gateway-process.js'
import { startTlsPostgres, type StaticLogin, type TlsPostgres } from './postgres.js'
import { startProcess } from './process.js'
import { poolCompetitor } from './queries.js'
import { competitor, type Competitor, type Effort } from './rounds.js'

/** By default, PostgreSQL before 18 accepts only this curve: clients that start with another one repeat the ClientHello. */
const CURVE = 'prime256v1'

export const gateway: Benchmark = async (context) => {
  const isPinned = pin(process.pid, 'others')
  if (!isPinned) context.leaveOut('a CPU for the gateway alone: there is one CPU, or no taskset')
  // It inherits the CPUs of this process, so the server that the benchmarks share is not used.
  const postgres = await startTlsPostgres()
  const processes: { stop(): Promise<void> }[] = []
  try {
    const { password, ssl: theirs, ...address } = postgres.passwordLogin
    const { user: role, database, port } = address
    const ssl = { ...theirs, ecdhCurve: CURVE }
    const { rds } = await context.build('core')
    const identity = { user: role, database, credentials: CREDENTIALS }
    const login = rds({ host: RDS_HOST, ...identity, reuseTokenSecs: 0 })
    const startWay = async (kind: GatewayOrder['kind']): Promise<Omit<Way, 'password'>> => {
      const upstream = { host: postgres.socketDirectory, port }
      const order: GatewayOrder = { kind, host: RDS_HOST, role, database, upstream }
      const started = startProcess<GatewayReady>('gateway-process.js', order)
      processes.push(started)
      const { port: ownPort, ca, pid } = await started.answer
      if (isPinned) pin(pid, 'last')
      return { ...address, port: ownPort, ssl: { ...ssl, ca } }
    }
    const ways: Ways = {
      'a relay': {
        ...(await startWay('relay')),
        user: postgres.relayedUser,
        password: async () => password,
      },
      'the gateway': { ...(await startWay('gateway')), password: () => login.password() },
      PostgreSQL: { ...address, ssl, password: async () => password },
    }
    await queriesThrough(ways, context)
    const { port: ownPort, ssl: own } = ways['the gateway']
    const connectTo = { host: '127.0.0.1', port: ownPort }
    await overWebSocket(
      rds({ host: RDS_HOST, ...identity, connectTo, tls: { ca: own.ca } }),
      context,
    )
    await pgbenchThrough('pgbench', ways, postgres, context)
    await connectsThrough(ways, postgres, context)
    await proxied(postgres, context, isPinned, processes)
  } finally {
    for (const { stop } of processes) await stop()
    await postgres.close()
    pin(process.pid, 'all')
  }
}

/**
 * Restricts a process, and those that it will start, to some CPUs. Returns `false` where that is not possible.
 *
 * The gateway and the relay run on the last CPU, everything else on the other ones. Without that, three busy processes on two CPUs measure
 * how the kernel places them: the same process took 130 or 240 µs for a query, a second apart.
 */
function pin(pid: number, on: 'all' | 'last' | 'others'): boolean {
  const last = cpus().length - 1
  if (last === 0) return false
  const list = { all: `0-${last}`, last: String(last), others: `0-${last - 1}` }[on]
  return spawnSync('taskset', ['-a', '-p', '-c', list, String(pid)]).status === 0
}

/** A way to connect to the database. */
interface Address extends Omit<StaticLogin, 'password' | 'ssl'> {
  /** `undefined` for a plain connection. */
  readonly ssl: (StaticLogin['ssl'] & { readonly ecdhCurve: string }) | undefined
  /** The static password, or a new token. */
  password(): Promise<string>
}

type Way = Address & { readonly ssl: {} }
type Ways = Readonly<Record<'a relay' | 'the gateway' | 'PostgreSQL', Way>>

/** The relay, which is the first way, is the baseline of the others. */
function contestOf<One>(
  ways: Readonly<Record<string, One>>,
  competitorOf: (name: string, way: One) => Competitor,
): { baseline: Competitor; others: Competitor[] } {
  const [baseline, ...others] = Object.entries(ways).map(([name, way]) => competitorOf(name, way))
  return { baseline: baseline!, others }
}

async function queriesThrough(ways: Ways, { isQuick, measure }: BenchContext): Promise<void> {
  for (const tasks of isQuick ? [2] : [1, 5]) {
    const contest = {
      what: `pg, ${tasks} ${tasks === 1 ? 'task' : 'tasks'}`,
      unit: 'µs a query',
      ...contestOf(ways, (name, way) =>
        poolCompetitor(name, tasks, isQuick ? 20 : 2_000, () =>
          openPool(new Pool({ ...way, ...pgSettings(tasks) })),
        ),
      ),
    }
    const full: Effort = { rounds: 11, warmUpRounds: 1, turns: 3, warmUpTurns: 1 }
    await measure(contest, isQuick ? { rounds: 1, warmUpTurns: 1 } : full)
  }
}

/** Postgres.js at the gateway, over TCP and over WebSocket: small queries, and a result of a megabyte. */
async function overWebSocket(
  login: Login,
  { isQuick, build, measure }: BenchContext,
): Promise<void> {
  const { createSql } = await build('postgres-js')
  const { createWebSocketSql } = await build('postgres-js-websocket')
  const megabyte = `SELECT repeat('x', 1000) FROM generate_series(1, 1000)`
  for (const [what, text, tasks, perTurn] of [
    ['1 task', QUERY, 1, 2_000],
    ['5 tasks', QUERY, 5, 2_000],
    ['a result of 1 MB', megabyte, 1, 20],
  ] as const) {
    const through = (name: string, open: () => Sql): Competitor =>
      poolCompetitor(name, tasks, isQuick ? 5 : perTurn, () => {
        const sql = open()
        return { run: async () => [...(await sql.unsafe(text))], close: () => sql.end() }
      })
    const contest = {
      what: `Postgres.js, ${what}`,
      unit: 'µs a query',
      baseline: through('TCP', () => createSql(login, { max: tasks }) as Sql),
      others: [through('WebSocket', () => createWebSocketSql(login, { max: tasks }) as Sql)],
    }
    const full: Effort = { rounds: 11, warmUpRounds: 1, turns: 3, warmUpTurns: 1 }
    await measure(contest, isQuick ? { rounds: 1, warmUpTurns: 1 } : full)
  }
}

async function connectsThrough(
  ways: Ways,
  { untilQuiet }: TlsPostgres,
  { isQuick, measure }: BenchContext,
): Promise<void> {
  const connections = isQuick ? 3 : 50
  // V8 is still optimizing the gateway's code after some thousand logins. Until then a connection takes up to a quarter longer.
  for (const { password, ...address } of [ways['a relay'], ways['the gateway']]) {
    let left = isQuick ? 1 : 6_000
    const logIn = async (): Promise<void> => {
      while (left-- > 0) {
        const client = new Client({ ...address, password: await password() })
        await client.connect()
        await client.end()
      }
    }
    await Promise.all(Array.from({ length: 10 }, logIn))
    await untilQuiet()
  }
  for (const [how, openAll] of Object.entries(WAYS_TO_OPEN)) {
    const contest = {
      what: `${connections} connections ${how}`,
      unit: 'ms a connection',
      ...contestOf(ways, (name, { password, ...address }) =>
        competitor(name, async () => {
          // The token is signed before: `bench:tokens` measures that.
          const config = { ...address, password: await password() }
          const clients = Array.from({ length: connections }, () => new Client(config))
          const startedAt = performance.now()
          await openAll(clients)
          const took = average(startedAt, connections)
          await Promise.all(clients.map((client) => client.end()))
          await untilQuiet()
          return took
        }),
      ),
    }
    await measure(contest, isQuick ? { rounds: 1 } : { rounds: 11, warmUpRounds: 1 })
  }
}

const WAYS_TO_OPEN: Readonly<Record<string, (clients: readonly Client[]) => Promise<unknown>>> = {
  'one by one': async (clients) => {
    for (const client of clients) await client.connect()
  },
  'at once': (clients) => Promise.all(clients.map((client) => client.connect())),
}

/**
 * The same with a client in C, which leaves more CPU time to the gateway and shows more of its cost. pgbench is part of a system's
 * PostgreSQL, but not of the npm package. The figure does not include connection times.
 */
async function pgbenchThrough(
  what: string,
  ways: Readonly<Record<string, Address>>,
  { socketDirectory, binDirectory }: TlsPostgres,
  { isQuick, measure, leaveOut }: BenchContext,
): Promise<void> {
  const places = [join(binDirectory, 'pgbench'), '/usr/bin/pgbench']
  const program = places.find((one) => existsSync(one))
  if (program === undefined) return leaveOut(`pgbench, which is not at ${places.join(', ')}`)
  const run = async (words: readonly string[], way: Address, settings: object): Promise<string> => {
    const { port: PGPORT, user: PGUSER, database: PGDATABASE } = way
    const env = { ...process.env, PGPORT: String(PGPORT), PGUSER, PGDATABASE, ...settings }
    return (await promisify(execFile)(program, words, { env })).stdout
  }
  const hostOf = async ({ host, port, ssl }: Address): Promise<object> => {
    if (ssl === undefined) return { PGHOST: host, PGSSLMODE: 'disable' }
    const PGSSLROOTCERT = join(socketDirectory, `ca-${port}.pem`)
    await writeFile(PGSSLROOTCERT, ssl.ca)
    return { PGHOST: ssl.servername, PGHOSTADDR: host, PGSSLMODE: 'verify-full', PGSSLROOTCERT }
  }
  const prepare = ['-i', '-q', '-s', isQuick ? '1' : '16']
  await run(prepare, ways['PostgreSQL']!, { PGHOST: socketDirectory })
  for (const clients of isQuick ? [4] : [1, 16]) {
    const each = String(Math.ceil((isQuick ? 100 : 6_000) / clients))
    const load = ['-S', '-n', '-M', 'prepared', '-c', String(clients), '-t', each]
    const contest = contestOf(ways, (name, way) =>
      competitor(name, async () => {
        const PGPASSWORD = await way.password()
        const printed = await run(load, way, { PGPASSWORD, ...(await hostOf(way)) })
        const perSecond = /^tps = ([\d.]+) \(without initial/m.exec(printed)?.[1]
        if (perSecond === undefined) throw new Error(`pgbench printed: ${printed}`)
        return 1_000_000 / Number(perSecond)
      }),
    )
    const whole = `${what}, ${clients} ${clients === 1 ? 'client' : 'clients'}`
    const effort = isQuick ? { rounds: 1 } : { rounds: 11, warmUpRounds: 1 }
    await measure({ what: whole, unit: 'µs a transaction', ...contest }, effort)
  }
}

/** `pg-iam proxy`, compared with a relay that accepts plain connections and connects to the server with TLS. */
async function proxied(
  postgres: TlsPostgres,
  context: BenchContext,
  isPinned: boolean,
  processes: { stop(): Promise<void> }[],
): Promise<void> {
  const { user, database, host, port, ssl } = postgres.openLogin
  const order: GatewayOrder = {
    kind: 'relay to TLS',
    host: RDS_HOST,
    role: user,
    database,
    upstream: { host, port },
    ca: ssl.ca,
  }
  const relay = startProcess<GatewayReady>('gateway-process.js', order)
  processes.push(relay)
  const { port: relayPort, pid } = await relay.answer
  const ca = join(postgres.socketDirectory, 'ca.pem')
  await writeFile(ca, ssl.ca)
  const { accessKeyId, secretAccessKey } = CREDENTIALS
  const keys = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
  const target = `postgres://${user}@${RDS_HOST}/${database}`
  const words = ['proxy', target, '--connect-to', `${host}:${port}`, '--ca', ca]
  const listen = ['--port', '0', '--no-password', '--json']
  const proxy = spawn(process.execPath, ['dist/cli/main.js', ...words, ...listen], {
    env: { ...process.env, ...keys },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  processes.push({
    async stop() {
      proxy.kill('SIGKILL')
    },
  })
  const [line] = (await once(proxy.stdout, 'data')) as [Buffer]
  const proxyPort = Number(/127\.0\.0\.1:(\d+)/.exec(line.toString())?.[1])
  if (isPinned) for (const each of [pid, proxy.pid!]) pin(each, 'last')
  const plain = { user, database, host: '127.0.0.1', ssl: undefined, password: async () => '' }
  const ways = {
    'a relay to TLS': { ...plain, port: relayPort },
    'pg-iam proxy': { ...plain, port: proxyPort },
    PostgreSQL: { ...plain, port, ssl: { ...ssl, ecdhCurve: CURVE } },
  }
  await pgbenchThrough('pgbench by the proxy', ways, postgres, context)
}

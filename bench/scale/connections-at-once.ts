/** What one connection costs the client, by how many are asked for at once. */
import { askProcess, startProcess } from '../common/process/start-process.js'
import { createCertificates } from '../../gateway/certificates/gateway-certificates.js'
import type { BenchContext, CurveSection, SectionText } from '../frame/benchmark.js'
import { summarize } from '../frame/statistics.js'
import { startTlsPostgres, type StaticLogin } from '../postgres/tls-postgres.js'
import { growingCost, type CostCurve } from './growing-cost.js'
import { mostSockets } from './most-sockets.js'
import type { AtOnceFigures, AtOnceOrder, PeerAddress, PeerOrder } from './orders.js'

export async function connectionsAtOnce(context: BenchContext): Promise<CurveSection[]> {
  const most = mostSockets()
  const { counts, ...load } = context.isQuick ? QUICK : FULL
  const measured = [
    ...(await withPostgres(context, (server) =>
      bothLogins(
        'PostgreSQL',
        server,
        { ...load, counts: counts.filter((count) => count <= MOST_AT_POSTGRES) },
        context,
      ),
    )),
    ...(await withPeer((server) =>
      bothLogins(
        'stand-in',
        server,
        { ...load, counts: counts.filter((count) => count <= most) },
        context,
      ),
    )),
  ]
  const curves = (samplesOf: (one: AtOnceFigures) => readonly number[]): CostCurve[] =>
    measured.map(({ figures, ...curve }) => ({
      ...curve,
      points: figures.map((one) => ({ x: one.connections, y: summarize(samplesOf(one)).median })),
    }))
  const text = (name: string, title: string, notes: readonly string[]): SectionText => ({
    name,
    title,
    notes: [...NOTES, ...limitNotes(counts, most), ...notes],
  })
  return [
    growingCost(
      text('at-once-cpu', "Connections asked for at once: the client's processor time", CPU_NOTES),
      'connections',
      { label: 'processor time for one', unit: 'ms' },
      curves(({ cpuMillis }) => cpuMillis),
    ),
    growingCost(
      text('at-once-time', 'Connections asked for at once: time', TIME_NOTES),
      'connections',
      { label: 'time for one', unit: 'ms' },
      curves(({ millis }) => millis),
    ),
  ]
}

type Load = Pick<AtOnceOrder, 'counts' | 'connections'>

const FULL: Load = { counts: [10, 30, 100, 300, 1_000, 3_000, 10_000], connections: 1_000 }
const QUICK: Load = { counts: [3, 6, 9], connections: 3 }

const MOST_AT_POSTGRES = 300

interface Measured {
  readonly name: string
  readonly against?: string
  readonly figures: readonly AtOnceFigures[]
}

async function bothLogins(
  server: string,
  address: StaticLogin,
  load: Load,
  { progress }: BenchContext,
): Promise<Measured[]> {
  const measured: Measured[] = []
  for (const login of ['static password', 'pg-iam'] as const) {
    const name = `${login}, ${server}`
    progress(`connections at once, ${name}`)
    const order: AtOnceOrder = { login, server: address, ...load }
    const file = new URL('child/at-once.js', import.meta.url)
    const figures = await askProcess<readonly AtOnceFigures[]>(file, order)
    const against = login === 'pg-iam' ? { against: `static password, ${server}` } : {}
    measured.push({ name, ...against, figures })
  }
  return measured
}

async function withPostgres<T>(
  context: BenchContext,
  work: (server: StaticLogin) => Promise<T>,
): Promise<T> {
  const postgres = await startTlsPostgres(context)
  try {
    return await work(postgres.staticLogin(postgres.passwordRole))
  } finally {
    await postgres.close()
  }
}

async function withPeer<T>(work: (server: StaticLogin) => Promise<T>): Promise<T> {
  const { ca, certificate, privateKey } = await createCertificates([SERVER_NAME])
  const order: PeerOrder = { certificate, privateKey }
  const peer = startProcess<PeerAddress>(new URL('child/peer.js', import.meta.url), order)
  try {
    const { port } = await peer.answer
    return await work({
      host: '127.0.0.1',
      port,
      user: 'app',
      password: 'password',
      database: 'app',
      ssl: { ca, servername: SERVER_NAME, rejectUnauthorized: true },
    })
  } finally {
    await peer.stop()
  }
}

const SERVER_NAME = 'postgres.bench.internal'

const NOTES = [
  'Clients of pg, all created and connected in one turn of the event loop, and all of one login: no pool, whose own lists would be',
  'measured. The client is a process of its own. PostgreSQL is a real one, up to what it holds; beyond that there is a stand-in for the',
  'server only, a process that answers on loopback over verified TLS, asks for the password, takes any, and says what PostgreSQL says to',
  'somebody who is let in. The median where a count was measured more than once.',
]
const CPU_NOTES = [
  'All that the process does meanwhile, TLS and pg among it. pg makes a TLS context for each connection, pg-iam one for all.',
]
const TIME_NOTES = ['The server works on the same machine at the same time.']

function limitNotes(counts: readonly number[], most: number): string[] {
  return counts.every((count) => count <= most)
    ? []
    : [`This system lets a process open ${most} connections at the most, so there are no more.`]
}

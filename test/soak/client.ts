/** The process of one client, whose pools are opened and closed repeatedly. An uncaught error here would end an application. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import { auroraDsql, type AuroraDsqlOptions, type Login } from '../../core/index.js'
import { type ClientEntry, openClient } from '../clients/client.js'
import { loadClient } from '../clients/index.js'
import { endOf, eventually } from '../support/eventually.js'
import { createSeededRandom } from '../support/seeded-random.js'
import { createOutcomeLog, type OutcomeLog } from './ledger.js'
import {
  LIFETIME_SECS,
  POOLS_PER_CLIENT,
  POOL_SIZE,
  QUERY_TASKS,
  STOP,
  TRANSFER_TASKS,
  type ClientMessage,
  type ClientOrder,
  type ClientReport,
  type ConnectionCounts,
} from './messages.js'
import { openResources, settleTo, usedHeap, watchExcess } from './resources.js'
import {
  createCalls,
  createLateStatements,
  query,
  runTask,
  transfer,
  type Calls,
} from './workload.js'

/** The whole report, except for the process's own part. */
export type RunReport = Omit<ClientReport, 'crashes' | 'warnings'>

export interface ClientRun {
  readonly calls: Calls
  /** Resolves when everything is closed. */
  readonly ended: Promise<RunReport>
}

/**
 * Resolves when the client is loaded and starts to work.
 *
 * @param signal fires to end the work
 */
export async function startClientRun(order: ClientOrder, signal: AbortSignal): Promise<ClientRun> {
  const calls = createCalls()
  const pools = await poolsOf(order, calls)
  return { calls, ended: run(order, pools, calls, signal) }
}

async function run(
  order: ClientOrder,
  pools: readonly Omit<PoolOptions, 'seed'>[],
  calls: Calls,
  signal: AbortSignal,
): Promise<RunReport> {
  // Node creates it on first use, as by some clients.
  void process.stderr
  // Waits one turn of the event loop, for handles that close after the client was loaded.
  await delay(0)
  const resourcesBefore = openResources()
  const connections: ConnectionCounts = { connections: 0, reconnects: 0, tokens: 0, conflicts: 0 }
  const leftBehind: string[] = []
  const heap: number[] = []
  for (let life = 0; !signal.aborted; life++) {
    const end = endOfLife(order.poolLifeMs, signal)
    const lives = pools.map((pool, index) =>
      livePool({ ...pool, seed: order.seed + 1_000 * life + 100 * index }, end),
    )
    for (const result of await Promise.all(lives)) {
      leftBehind.push(...result.leftBehind)
      for (const name of Object.keys(connections) as (keyof ConnectionCounts)[])
        connections[name] += result.counts[name]
    }
    await settleTo(resourcesBefore)
    // Waits one turn of the event loop, for handles that are released in the events of the last sockets.
    await delay(0)
    heap.push(usedHeap())
  }
  return {
    calls: calls.counts,
    connections,
    failures: calls.failures,
    unexpected: calls.unexpected,
    leftBehind,
    resourcesBefore,
    resourcesAfter: openResources(),
    heap,
    outcomes: pools.map(({ pool, outcomes }) => ({ pool, outcomes: outcomes.read() })),
  }
}

/** Fires after that time, and when `signal` fires. */
function endOfLife(ms: number, signal: AbortSignal): AbortSignal {
  const end = new AbortController()
  const fire = (): void => {
    clearTimeout(timer)
    signal.removeEventListener('abort', fire)
    end.abort()
  }
  // Not AbortSignal.any(): Node 20 may collect it as garbage before it fires.
  const timer = setTimeout(fire, ms)
  signal.addEventListener('abort', fire)
  return end.signal
}

/** The recommended way to open a client, with lifetimes; and the last one, whose sessions the server ends. */
async function poolsOf(
  { client: name, login, firstPool }: ClientOrder,
  calls: Calls,
): Promise<Omit<PoolOptions, 'seed'>[]> {
  const entries = (await loadClient(name)).entries.filter(({ connectsItself }) => !connectsItself)
  const chosen = [entries[0]!, entries.at(-1)!]
  return Array.from({ length: POOLS_PER_CLIENT }, (_, index) => ({
    pool: firstPool + index,
    entry: chosen[index]!,
    login: index === 0 ? { ...login, maxLifetimeSecs: LIFETIME_SECS } : login,
    outcomes: createOutcomeLog(firstPool + index),
    calls,
  }))
}

export interface PoolOptions {
  readonly pool: number
  readonly entry: ClientEntry
  readonly login: AuroraDsqlOptions
  readonly outcomes: OutcomeLog
  readonly calls: Calls
  readonly seed: number
}

export interface LifeResult {
  readonly counts: ConnectionCounts
  /** What the pool left open, in words. */
  readonly leftBehind: readonly string[]
}

/** @param signal fires to close the pool */
export async function livePool(options: PoolOptions, signal: AbortSignal): Promise<LifeResult> {
  const { pool, entry, calls, outcomes, seed } = options
  const login = auroraDsql(options.login)
  const client = openClient(entry, login, POOL_SIZE)
  const excess = watchExcess(() => login.stats().connectionsOpen, POOL_SIZE)
  const late = createLateStatements()
  const steps = [
    ...Array.from({ length: TRANSFER_TASKS }, () => transfer),
    ...Array.from({ length: QUERY_TASKS }, () => query),
  ]
  await Promise.all(
    steps.map((step, task) => {
      const random = createSeededRandom(seed + task)
      return runTask(step, { pool, client, calls, outcomes, late, random, signal })
    }),
  )
  await late.drained()
  const leftBehind = [...excess.stop(), ...(await close(client, login))]
  return {
    counts: countsOf(login),
    leftBehind: leftBehind.map((what) => `pool ${pool} (${entry.name}): ${what}`),
  }
}

async function close(client: { close(): Promise<void> }, login: Login): Promise<string[]> {
  const closed = await endOf(
    client.close().then(
      () => [],
      (error: unknown) => [`its close failed: ${String(error)}`],
    ),
  )
  if (closed === 'hangs') return ['its close did not end']
  return [...closed, ...(await outlivers(() => login.stats().connectionsOpen))]
}

/** Pools report that they are closed after they have sent Terminate, shortly before their sockets close. */
async function outlivers(open: () => number): Promise<string[]> {
  const since = performance.now()
  const count = open()
  await eventually('connections to end', () => open() === 0).catch(() => {})
  const seconds = (performance.now() - since) / 1_000
  if (open() === 0 && seconds < LONGEST_GOODBYE_SECS) return []
  return [`${count} connections outlived it by ${seconds.toFixed(1)} s`]
}

/** Less than the idle time after which the server, or a pool that was not really closed, ends connections. */
const LONGEST_GOODBYE_SECS = 4

function countsOf(login: Login): ConnectionCounts {
  const { connectionsOpened, tokensMade, conflictsRetried } = login.stats()
  return {
    connections: connectionsOpened,
    reconnects: Math.max(0, connectionsOpened - POOL_SIZE),
    tokens: tokensMade,
    conflicts: conflictsRetried,
  }
}

const PROGRESS_MS = 1_000

const crashes: string[] = []
process.on('uncaughtException', (error) => crashes.push(inspect(error)))
process.on('unhandledRejection', (error) => crashes.push(inspect(error)))
const warnings: string[] = []
process.on('warning', (warning) => {
  if (warning.name === 'MaxListenersExceededWarning') warnings.push(inspect(warning))
})
// Ctrl-C signals all processes of the terminal. This one ends when the soak sends STOP.
process.on('SIGINT', () => {})
const orphaned = (): never => process.exit(1)
process.once('disconnect', orphaned)

const [received] = (await once(process, 'message')) as [ClientOrder]
const stop = new AbortController()
process.on('message', (message) => {
  if (message === STOP) stop.abort()
})

try {
  const { calls, ended } = await startClientRun(received, stop.signal)
  const tell = (): void => send({ type: 'progress', counts: calls.counts })
  tell()
  const progress = setInterval(tell, PROGRESS_MS)
  const report = await ended
  clearInterval(progress)
  await sent({ type: 'report', report: { ...report, crashes, warnings } })
} catch (error) {
  // Nothing above may delay the end of a process that has failed.
  process.stderr.write(`${inspect(error)}\n`, () => process.exit(1))
}
// From here on, only leaked handles keep the process alive.
process.off('disconnect', orphaned)
process.disconnect()

function send(message: ClientMessage): void {
  process.send!(message)
}

function sent(message: ClientMessage): Promise<void> {
  return new Promise((resolve) => {
    process.send!(message, undefined, undefined, () => resolve())
  })
}

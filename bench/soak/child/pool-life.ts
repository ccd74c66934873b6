/** One life of a pool: it is opened, worked on by several tasks, and closed. */
import { auroraDsql, type AuroraDsqlOptions, type Login } from '../../../core/index.js'
import type { ClientEntry } from '../../../test/resilience/clients/resilient-client.js'
import { endOf, until } from '../../../test/resilience/until.js'
import { createSeededRandom } from '../../common/seeded-random.js'
import { POOL_SIZE, QUERY_TASKS, TRANSFER_TASKS } from '../load.js'
import type { ConnectionCounts } from '../messages.js'
import type { OutcomeLog } from '../outcome.js'
import type { Calls } from './calls.js'
import { query, runTask, transfer } from './tasks.js'
import { createLateStatements } from './transfer.js'
import { watchExcess } from './watch-excess.js'

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
  /** What the pool left behind, in words. */
  readonly leftBehind: readonly string[]
}

/** @param signal fires when the life is to end */
export async function livePool(options: PoolOptions, signal: AbortSignal): Promise<LifeResult> {
  const { pool, entry, calls, outcomes, seed } = options
  const login = auroraDsql(options.login)
  const client = entry.open(login, { poolSize: POOL_SIZE })
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

/** Pools are closed when they have said goodbye, which is a little before the sockets are. */
async function outlivers(open: () => number): Promise<string[]> {
  const since = performance.now()
  const count = open()
  await until('connections to end', () => open() === 0).catch(() => {})
  const seconds = (performance.now() - since) / 1_000
  if (open() === 0 && seconds < LONGEST_GOODBYE_SECS) return []
  return [`${count} connections outlived it by ${seconds.toFixed(1)} s`]
}

/** Less than the server, or a pool that was not closed in truth, lets idle connections live. */
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

/** What the process of one client does: its pools live one life after the other. */
import { setTimeout as delay } from 'node:timers/promises'
import { loadClient } from '../clients.js'
import { LIFETIME_SECS, POOLS_PER_CLIENT } from '../load.js'
import type { ClientOrder, ClientReport, ConnectionCounts } from '../messages.js'
import { openResources, settleTo, usedHeap } from '../open-resources.js'
import { createOutcomeLog } from '../outcome.js'
import { createCalls, type Calls } from './calls.js'
import { livePool, type PoolOptions } from './pool-life.js'

/** All of the report but for what the process itself has to say. */
export type RunReport = Omit<ClientReport, 'crashes' | 'warnings'>

export interface ClientRun {
  readonly calls: Calls
  /** Resolves when all is closed. */
  readonly ended: Promise<RunReport>
}

/**
 * Resolves when the client is loaded and goes to work.
 *
 * @param signal fires when it is to end
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
  // Node makes it when somebody asks for it, as some clients do.
  void process.stderr
  // One turn, for what is closed when the client has been loaded.
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
    // One turn, for what is let go of in the events of the last sockets.
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

/** Fires after that time, and when `signal` does. */
function endOfLife(ms: number, signal: AbortSignal): AbortSignal {
  const end = new AbortController()
  const fire = (): void => {
    clearTimeout(timer)
    signal.removeEventListener('abort', fire)
    end.abort()
  }
  // Not AbortSignal.any(): Node 20 lets it be collected before it fires.
  const timer = setTimeout(fire, ms)
  signal.addEventListener('abort', fire)
  return end.signal
}

/** The way to open a client that is recommended, with lifetimes; and the last one, whose sessions the server ends. */
async function poolsOf(
  { client: name, login, firstPool }: ClientOrder,
  calls: Calls,
): Promise<Omit<PoolOptions, 'seed'>[]> {
  const { entries } = await loadClient(name)
  const chosen = [entries[0]!, entries.at(-1)!]
  return Array.from({ length: POOLS_PER_CLIENT }, (_, index) => ({
    pool: firstPool + index,
    entry: chosen[index]!,
    login: index === 0 ? { ...login, maxLifetimeSecs: LIFETIME_SECS } : login,
    outcomes: createOutcomeLog(firstPool + index),
    calls,
  }))
}

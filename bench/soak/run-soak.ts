/** The soak: all clients at work, while a troublemaker is about; then the accounts are looked into. */
import { setTimeout as delay } from 'node:timers/promises'
import { createSeededRandom } from '../common/seeded-random.js'
import { openResources, settleTo } from './open-resources.js'
import { startClientProcess, type ClientEnd, type ClientProcess } from './client-process.js'
import type { ClientName } from './clients.js'
import {
  CONFLICT_PROBABILITY,
  POOLS_PER_CLIENT,
  POOL_LIFE_MS,
  POOL_SIZE,
  SESSION_SECS,
  TROUBLE_EVERY_MS,
} from './load.js'
import type { CallCounts, Resources } from './messages.js'
import type { SoakOptions } from './soak-options.js'
import { startStage, type Stage } from './stage.js'
import { startTroubleMaker } from './troublemaker.js'
import { clientFaults, type Fault } from './verdict/faults.js'
import { ledgerFaults } from './verdict/ledger.js'
import { excessOf } from './verdict/resources.js'
import { readRemains, remainsFaults, troubleFaults } from './verdict/stage-faults.js'

export interface SoakResult {
  readonly tookSecs: number
  readonly ends: ReadonlyMap<ClientName, ClientEnd>
  readonly troubles: Readonly<Record<string, number>>
  /** Of this process, with the gateway in it. */
  readonly resourcesBefore: Resources
  readonly resourcesAfter: Resources
  readonly faults: readonly Fault[]
}

export type Progress = (seconds: number, counts: readonly CallCounts[]) => void

/** @param signal ends it early, in good order */
export async function runSoak(
  options: SoakOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<SoakResult> {
  const startedAt = performance.now()
  const secondsPassed = (): number => (performance.now() - startedAt) / 1_000
  const resourcesBefore = openResources()
  const stage = await startStage(options.clients, options.clients.length * POOLS_PER_CLIENT)
  let result: Omit<SoakResult, 'tookSecs' | 'resourcesBefore' | 'resourcesAfter'>
  try {
    const processes = startProcesses(options, stage)
    const ticks = setInterval(() => {
      const counts = [...processes.values()].flatMap((one) => one.counts ?? [])
      progress(secondsPassed(), counts)
    }, progressMs(options))
    const troubles = await work(options, stage, processes, signal)
    const ends = new Map<ClientName, ClientEnd>()
    for (const [name, one] of processes) ends.set(name, await one.ended)
    clearInterval(ticks)
    result = { ends, troubles, faults: await faultsOf(stage, ends, troubles) }
  } finally {
    await stage.close()
  }
  await settleTo(resourcesBefore)
  const resourcesAfter = openResources()
  const leaks = excessOf(resourcesBefore, resourcesAfter).map<Fault>((excess) => ({
    kind: 'leak',
    text: `the gateway's process: ${excess} still open`,
  }))
  return {
    ...result,
    faults: [...result.faults, ...leaks],
    tookSecs: secondsPassed(),
    resourcesBefore,
    resourcesAfter,
  }
}

const PROGRESS_MS = 10_000

function progressMs({ minutes }: SoakOptions): number {
  return Math.min(PROGRESS_MS, minutes * 30_000)
}

function startProcesses(
  { clients, seed, minutes }: SoakOptions,
  stage: Stage,
): ReadonlyMap<ClientName, ClientProcess> {
  // Even a short run opens its pools twice.
  const poolLifeMs = Math.min(POOL_LIFE_MS, Math.ceil(minutes * 30_000))
  return new Map(
    clients.map((client, index) => [
      client,
      startClientProcess({
        client,
        seed: seed + 1_000_000 * index,
        login: stage.loginOptions(client),
        firstPool: index * POOLS_PER_CLIENT,
        poolLifeMs,
      }),
    ]),
  )
}

/** Lets the clients work under trouble; resolves, when they were told to end, with what trouble there was. */
async function work(
  { clients, seed, minutes }: SoakOptions,
  { gateway, admin, roles }: Stage,
  processes: ReadonlyMap<ClientName, ClientProcess>,
  signal: AbortSignal,
): Promise<Readonly<Record<string, number>>> {
  gateway.faults.endSessionsAt(SESSION_SECS * 1_000)
  gateway.faults.raiseConflicts({ probability: CONFLICT_PROBABILITY })
  const connections = clients.length * POOLS_PER_CLIENT * POOL_SIZE
  const troubleMaker = startTroubleMaker({
    gateway,
    admin,
    roles,
    everyMs: TROUBLE_EVERY_MS / connections,
    random: createSeededRandom(seed),
  })
  await Promise.all([...processes.values()].map(({ started }) => started))
  await delay(minutes * 60_000, undefined, { signal: endOfWork(processes, signal) }).catch(() => {})
  await troubleMaker.stop()
  // What the pools leave behind at their end must not be put out of the way by the server.
  gateway.faults.clear()
  for (const one of processes.values()) one.stop()
  return troubleMaker.troubles
}

/** Fires where the work is to end before its time: somebody wants that, or a process has died. */
function endOfWork(
  processes: ReadonlyMap<ClientName, ClientProcess>,
  signal: AbortSignal,
): AbortSignal {
  const end = new AbortController()
  const fire = (): void => end.abort()
  if (signal.aborted) fire()
  signal.addEventListener('abort', fire)
  for (const { ended } of processes.values()) void ended.then(fire)
  return end.signal
}

async function faultsOf(
  stage: Stage,
  ends: ReadonlyMap<ClientName, ClientEnd>,
  troubles: Readonly<Record<string, number>>,
): Promise<Fault[]> {
  const remains = await readRemains(stage)
  const reports = [...ends.values()].flatMap(({ report }) => report ?? [])
  const conflicts = reports.reduce((sum, { connections }) => sum + connections.conflicts, 0)
  const pools = reports.flatMap(({ outcomes }) => outcomes)
  const ledger = await ledgerFaults(stage.admin, pools)
  return [
    ...[...ends].flatMap(([name, end]) => clientFaults(name, end)),
    ...remainsFaults(remains),
    ...ledger.map<Fault>((text) => ({ kind: 'ledger', text })),
    ...troubleFaults(troubles, conflicts),
  ]
}

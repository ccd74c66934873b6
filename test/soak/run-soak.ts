/** The soak: all clients work while connections are cut and killed. Then the tables are compared with the clients' records. */
import { fork } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import type { AuroraDsqlOptions } from '../../core/index.js'
import { startGateway, type Gateway } from '../../gateway/index.js'
import type { ClientName } from '../clients/index.js'
import { endOf, eventually } from '../support/eventually.js'
import { createSeededRandom } from '../support/seeded-random.js'
import { launchPostgres } from '../support/launch-postgres.js'
import { ledgerFaults, schemaOf, type Admin } from './ledger.js'
import {
  CONFLICT_PROBABILITY,
  POOLS_PER_CLIENT,
  POOL_LIFE_MS,
  POOL_SIZE,
  SESSION_SECS,
  STOP,
  TOKEN_SECS,
  TROUBLE_EVERY_MS,
  type CallCounts,
  type ClientEnd,
  type ClientMessage,
  type ClientOrder,
  type ClientReport,
} from './messages.js'
import type { SoakOptions } from './options.js'
import { excessOf, openResources, settleTo, type Resources } from './resources.js'
import { startTroubleMaker } from './troublemaker.js'
import { clientFaults, remainsFaults, troubleFaults, type Fault, type Remains } from './verdict.js'

export interface SoakResult {
  readonly tookSecs: number
  readonly ends: ReadonlyMap<ClientName, ClientEnd>
  readonly troubles: Readonly<Record<string, number>>
  /** The handles of this process, which includes the gateway. */
  readonly resourcesBefore: Resources
  readonly resourcesAfter: Resources
  readonly faults: readonly Fault[]
}

export type Progress = (seconds: number, counts: readonly CallCounts[]) => void

/** @param signal ends it early, with a clean shutdown */
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

/** Runs the clients under injected faults. Resolves with the faults, after the clients were told to end. */
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
  // The server must not clean up what the pools leave open at their end.
  gateway.faults.clear()
  for (const one of processes.values()) one.stop()
  return troubleMaker.troubles
}

/** Fires if the work must end early, because of `signal` or because a process has died. */
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

export interface Stage {
  readonly gateway: Gateway
  /** Runs a statement as the administrator, without the gateway. */
  readonly admin: Admin
  /** The roles of the clients. */
  readonly roles: readonly string[]
  /** The options of a client's logins, which can be sent to another process. */
  loginOptions(client: ClientName): AuroraDsqlOptions
  close(): Promise<void>
}

export async function startStage(clients: readonly ClientName[], pools: number): Promise<Stage> {
  const roles = clients.map(roleOf)
  const closers: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    for (const closeOne of closers.splice(0).toReversed()) await closeOne()
  }
  try {
    // Accounts are updated constantly: without autovacuum they would become slower.
    const settings = { autovacuum: 'on' }
    const postgres = await launchPostgres({ roles: ['admin', ...roles], settings })
    closers.push(() => postgres.close())
    const { socketDirectory: host, port, database, superuser } = postgres
    const gateway = await startGateway({
      upstream: { host, port, database },
      roles,
      webSocket: true,
    })
    closers.push(() => gateway.close())
    const administrator = new Client({ host, port, user: superuser, database, ssl: false })
    await administrator.connect()
    closers.push(() => administrator.end())
    const admin: Admin = async (text, values = []) =>
      (await administrator.query<Record<string, unknown>>(text, values)).rows
    for (const statement of schemaOf(pools, roles)) await admin(statement)
    return {
      gateway,
      admin,
      roles,
      loginOptions: (client) => loginOptions(gateway, roleOf(client), database),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A role for each client, which identifies its backends. */
function roleOf(client: ClientName): string {
  return `soak_${client.replaceAll('-', '_')}`
}

function loginOptions(gateway: Gateway, user: string, database: string): AuroraDsqlOptions {
  const { host, port, ca, clusters, credentials } = gateway
  const { accessKeyId, secretAccessKey } = credentials
  return {
    host: clusters[0]!,
    connectTo: { host, port },
    tls: { ca },
    database,
    user,
    credentials: { accessKeyId, secretAccessKey },
    tokenDurationSecs: TOKEN_SECS,
  }
}

export interface ClientProcess {
  /** The last report. */
  readonly counts: CallCounts | undefined
  /** Resolves when it works, or has died. */
  readonly started: Promise<void>
  /** Tells it to shut down cleanly. */
  stop(): void
  readonly ended: Promise<ClientEnd>
}

export function startClientProcess(order: ClientOrder): ClientProcess {
  const file = fileURLToPath(new URL('client.js', import.meta.url))
  const child = fork(file, {
    execArgv: ['--expose-gc', '--enable-source-maps'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let counts: CallCounts | undefined
  let report: ClientReport | undefined
  let lastOutput = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    lastOutput = (lastOutput + text).slice(-KEPT_CHARACTERS)
  })
  const disconnected = new Promise<void>((resolve) => void child.once('disconnect', resolve))
  const told = new Promise<void>((resolve) => void child.once('message', () => resolve()))
  child.on('message', (message: ClientMessage) => {
    if (message.type === 'progress') counts = message.counts
    else report = message.report
  })
  // The process may already have ended; only its exit matters.
  child.on('error', () => {})
  const closed = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, deadBy) => resolve(code ?? deadBy))
  })
  child.send(order)

  const end = async (): Promise<ClientEnd> => {
    await disconnected
    const closing: ClientEnd['exit'] = await endOf(closed)
    if (closing === 'hangs') {
      child.kill('SIGKILL')
      await closed
    }
    return { report, exit: closing, lastOutput }
  }
  return {
    get counts() {
      return counts
    },
    started: Promise.race([told, disconnected]),
    stop: () => {
      if (child.connected) child.send(STOP)
    },
    ended: end(),
  }
}

const KEPT_CHARACTERS = 4_000

/** Waits for the server: a backend detects a lost client only after its statement has ended. */
async function readRemains({ admin, gateway, roles }: Stage): Promise<Remains> {
  const backends = async (): Promise<string[]> =>
    (await admin(BACKENDS, [roles])).map(({ backend }) => String(backend))
  const isGone = async (): Promise<boolean> => {
    const { connectionsOpen, sessionsOpen } = gateway.stats()
    return connectionsOpen === 0 && sessionsOpen === 0 && (await backends()).length === 0
  }
  await eventually('all connections to end', isGone).catch(() => {})
  const [row] = await admin('SELECT count(*) FROM stray')
  return { backends: await backends(), gateway: gateway.stats(), strays: Number(row!['count']) }
}

const BACKENDS = `
  SELECT format('%s %s, %s: %s', usename, pid, state, query) AS backend
  FROM pg_stat_activity WHERE usename = ANY($1) ORDER BY pid`

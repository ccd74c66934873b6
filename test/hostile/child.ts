/** The process in which one client runs the scenarios of misbehaving servers, one after the other. */
import { inspect } from 'node:util'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { codesOf } from '../support/adapter-contract/error-chain.js'
import { loadHostileClient, type HostileClientName } from './clients/clients.js'
import type { HostileClient, OpenHostileClient } from './clients/hostile-client.js'
import { LOGIN_PHASES, type End, type Observation, type Scenario, type Timing } from './scenario.js'
import { openClient, type Opener } from './open-client.js'
import { startHostileServer, type HostileServer } from './server.js'

export interface ChildOrder {
  readonly client: HostileClientName
  readonly opener: Opener
  readonly timing: Timing
  readonly scenarios: readonly Scenario[]
}

export type ChildMessage =
  | { readonly type: 'ready' }
  /** Shows that the event loop runs. */
  | { readonly type: 'turning' }
  | { readonly type: 'begun'; readonly index: number }
  | { readonly type: 'ended'; readonly index: number; readonly observation: Observation }

const TURNING_EVERY_MS = 100

const crashes: string[] = []
process.on('uncaughtException', (error) => crashes.push(summaryOf(error)))
process.on('unhandledRejection', (error) => crashes.push(summaryOf(error)))
process.on('disconnect', () => process.exit())
process.once('message', (order: ChildOrder) => void main(order))

async function main({ client: name, opener, timing, scenarios }: ChildOrder): Promise<void> {
  const client = await loadHostileClient(name)
  const server = await startHostileServer()
  setInterval(() => tell({ type: 'turning' }), TURNING_EVERY_MS).unref()
  tell({ type: 'ready' })
  for (const [index, scenario] of scenarios.entries()) {
    tell({ type: 'begun', index })
    const observation = await playOne({ client, opener, server, timing }, scenario)
    tell({ type: 'ended', index, observation })
  }
  await server.close()
  process.disconnect()
}

function tell(told: ChildMessage): void {
  process.send!(told)
}

interface Surroundings {
  readonly client: HostileClient
  readonly opener: Opener
  readonly server: HostileServer
  readonly timing: Timing
}

async function playOne(around: Surroundings, scenario: Scenario): Promise<Observation> {
  const { server, timing } = around
  const connectTimeoutMs = scenario.connectTimeoutMs ?? timing.connectTimeoutMs
  const patienceMs = timing.patienceMs
  crashes.length = 0
  server.play(scenario)
  const opened = openClient(around, scenario.directWithoutAlpn, connectTimeoutMs)
  const memory = watchMemory()
  const startedAt = performance.now()
  const [query, wanted] = operationOf(opened, scenario)
  // For a server that never ends, a short time shows that it does not end.
  const isToPend = scenario.ends.every((end) => end === 'pending')
  if (isToPend) await Promise.race([query.catch(() => {}), untilReached(server, patienceMs)])
  const isLogin = LOGIN_PHASES.includes(scenario.phase)
  const mostMs = isToPend ? LOOK_MS : patienceMs + (isLogin ? connectTimeoutMs : 0)
  const ended = await endOf(query, wanted, mostMs)
  const tookMs = performance.now() - startedAt
  if (scenario.phase === 'idle' && ended.end === 'resolved')
    await Promise.race([server.untilInjected(), delay(patienceMs, undefined, { ref: false })])
  await turns()
  if (ended.end === 'pending') server.breakHostile()
  server.heal()
  const late = ended.end === 'pending' ? await endOf(query, wanted, patienceMs) : ended
  let next = await nextOf(opened, connectTimeoutMs + patienceMs)
  const isNextButOne = next.end !== 'resolved' && server.counts.isReused
  if (next.end === 'pending') server.reset()
  if (isNextButOne) {
    server.breakHostile()
    await turns()
    next = await nextOf(opened, connectTimeoutMs + patienceMs)
  }
  const grownMiB = memory.grownMiB()
  const closing = await endOf(opened.close(), undefined, patienceMs)
  await turns()
  const leftOpen = await leftOpenOf(server)
  const { counts } = server
  server.reset()
  await turns()
  return {
    query: ended,
    isStuck: late.end === 'pending',
    next,
    isNextButOne,
    crashes: [...crashes],
    tookMs: Math.round(tookMs),
    ...counts,
    grownMiB,
    leftOpen,
    isCloseStuck: closing.end === 'pending',
  }
}

const LOOK_MS = 100

async function untilReached(server: HostileServer, mostMs: number): Promise<void> {
  const until = performance.now() + mostMs
  while (!server.counts.isReached && performance.now() < until) await delay(5)
}

/** The action of an application during the scenario, and its result at a healthy server. */
function operationOf(opened: OpenHostileClient, scenario: Scenario): [Promise<unknown>, unknown] {
  if (scenario.mostLogins !== undefined) return [storm(opened), undefined]
  switch (scenario.phase) {
    case 'describe':
    case 'extended':
      return [opened.extended('asked'), 'asked']
    case 'begin':
    case 'inside':
    case 'commit':
      return [opened.transaction('inside'), 'inside']
    case 'copy':
      return [opened.copy(), undefined]
    default:
      return [opened.simple('asked'), 'asked']
  }
}

const STORM_MS = 2_000

async function storm(opened: OpenHostileClient): Promise<void> {
  const until = performance.now() + STORM_MS
  const pause = delay(STORM_MS)
  while (performance.now() < until)
    await Promise.race([opened.simple('asked').catch(() => {}), pause])
}

/** @param wanted the required result, if it matters */
async function endOf(promise: Promise<unknown>, wanted: unknown, ms: number): Promise<End> {
  const late = new AbortController()
  const pending = delay(ms, PENDING, { signal: late.signal }).catch(() => PENDING)
  const settled = promise.then(
    (value): End =>
      wanted === undefined || value === wanted
        ? { ...PENDING, end: 'resolved' }
        : { ...PENDING, end: 'wrong', message: inspect(value).slice(0, KEPT_CHARACTERS) },
    (error: unknown): End => ({
      end: 'rejected',
      codes: codesOf(error).map(String),
      message: summaryOf(error),
    }),
  )
  const end = await Promise.race([settled, pending])
  late.abort()
  return end
}

const PENDING: End = { end: 'pending', codes: [], message: '' }
const KEPT_CHARACTERS = 200

/** On a slow machine, a login with a short time limit may be late. */
async function nextOf(opened: OpenHostileClient, ms: number): Promise<End> {
  let next = PENDING
  for (let attempt = 0; attempt < NEXT_ATTEMPTS; attempt++) {
    next = await endOf(opened.simple('next'), 'next', ms)
    if (!next.codes.includes('ERR_CONNECT_TIMEOUT')) break
  }
  return next
}

const NEXT_ATTEMPTS = 5

async function turns(): Promise<void> {
  for (let left = 8; left > 0; left--) await turn()
}

/** Connections that the client has closed are closed at the server a little later. */
async function leftOpenOf(server: HostileServer): Promise<number> {
  for (let left = 100; left > 0 && server.openConnections() > 0; left--) await delay(5)
  return server.openConnections()
}

function watchMemory(): { grownMiB(): number } {
  const used = (): number => {
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = used()
  let most = before
  const timer = setInterval(() => (most = Math.max(most, used())), 20)
  return {
    grownMiB() {
      clearInterval(timer)
      return Math.round((Math.max(most, used()) - before) / 2 ** 20)
    },
  }
}

function summaryOf(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error).slice(0, KEPT_CHARACTERS)
  const { code } = error as { code?: unknown }
  return `${typeof code === 'string' ? `${code}: ` : ''}${error.message}`.slice(0, KEPT_CHARACTERS)
}

/** Credentials that fail in every way there is, in a process where nothing catches what nobody waited for. */
import type { AdapterVariant } from '../adapter-driver.js'
import { loginOfChild, type ChildOrder } from '../child-run.js'
import { codesOf, errorChain } from '../error-chain.js'
import { eventually } from '../eventually.js'
import type { Failure } from '../failures.js'
import { contractProvider } from '../providers/contract-providers.js'

/** By the name of the failure. */
export type FailingProviderReport = Record<string, FailureReport>

export interface FailureReport {
  /** Queries that failed while the credentials did. */
  failed: number
  /** Those of them whose error holds the original one. */
  withOriginal: number
  /** Those of them whose error holds ours, with this code. */
  withCode: number
  /** Queries that succeeded once the credentials did. */
  recovered: number
  /** Tokens made for these. */
  tokens: number
}

const QUERIES = 40

/** So long that no machine is too slow for it, and unlike what anybody else waits for: the timers that have it are known by it. */
const TOKEN_TIMEOUT_MS = 30_011

export async function runFailingProvider(
  variant: AdapterVariant,
  order: ChildOrder,
): Promise<FailingProviderReport> {
  const report: FailingProviderReport = {}
  const { failures } = contractProvider(order.login.provider)
  for (const failure of failures) report[failure.name] = await runFailure(failure, variant, order)
  return report
}

async function runFailure(
  failure: Failure,
  variant: AdapterVariant,
  order: ChildOrder,
): Promise<FailureReport> {
  const original = Object.assign(new Error('the metadata endpoint is gone'), { code: 'EHOSTDOWN' })
  let failing = true
  const login = loginOfChild(order.login, { tokenTimeoutMs: TOKEN_TIMEOUT_MS }, () =>
    failing ? failure.fail(original) : order.login.given,
  )
  const timers = hastenTimers(TOKEN_TIMEOUT_MS)
  const database = variant.open(login, variant.options({ poolSize: 5, log: () => {} }))
  const query = (): Promise<unknown> => database.run('SELECT 1 AS one')

  const failed = await settleAll(query)
  const errors = failed.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  )
  await eventually('no socket to be open', () => openSockets() === 0)
  // A provider that never answers is asked after the token's own limit began, and later connections share that call until it ends.
  await eventually('every time limit to be over', () => timers.pending() === 0)

  failing = false
  // A token that comes over the network must not be late for a limit that is short for the sake of the test.
  timers.restore()
  const made = login.stats().tokensMade
  const recovered = await settleAll(query)
  const tokens = login.stats().tokensMade - made
  await database.close()
  await eventually('no socket to be open', () => openSockets() === 0)
  return {
    failed: errors.length,
    withOriginal: errors.filter((error) => errorChain(error).includes(original)).length,
    withCode: errors.filter((error) => codesOf(error).includes(failure.code)).length,
    recovered: recovered.filter(({ status }) => status === 'fulfilled').length,
    tokens,
  }
}

interface HastenedTimers {
  /** How many of them have neither fired nor been cleared. */
  pending(): number
  restore(): void
}

/** Has timers of this duration fire after a moment. */
function hastenTimers(durationMs: number): HastenedTimers {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  const pending = new Set<unknown>()
  const hastened = (...[act, ms, ...rest]: [act: () => void, ms?: number]): NodeJS.Timeout => {
    if (ms !== durationMs) return Reflect.apply(set, globalThis, [act, ms, ...rest])
    const timer = set(() => {
      pending.delete(timer)
      act()
    }, MOMENT_MS)
    pending.add(timer)
    return timer
  }
  // With what Node has put there for util.promisify.
  globalThis.setTimeout = Object.assign(hastened, set)
  globalThis.clearTimeout = (timer) => {
    pending.delete(timer)
    clear(timer)
  }
  return {
    pending: () => pending.size,
    restore() {
      globalThis.setTimeout = set
      globalThis.clearTimeout = clear
    },
  }
}

const MOMENT_MS = 50

function settleAll(query: () => Promise<unknown>): Promise<PromiseSettledResult<unknown>[]> {
  return Promise.allSettled(Array.from({ length: QUERIES }, query))
}

/** Standard output and input are pipes, so every TCP socket is a client's. */
function openSockets(): number {
  return process
    .getActiveResourcesInfo()
    .filter((type) => ['TCPSocketWrap', 'TCPWRAP', 'TLSWrap', 'TCPConnectWrap'].includes(type))
    .length
}

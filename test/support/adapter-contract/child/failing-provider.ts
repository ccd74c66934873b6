/** Credentials that fail in all possible ways, in a process where unhandled rejections are not caught. */
import type { ClientEntry } from '../../../clients/client.js'
import { loginOfChild, type ChildOrder } from '../contract-process.js'
import { codesOf, errorChain } from '../error-chain.js'
import { eventually } from '../../eventually.js'
import type { Failure } from '../failures.js'
import { contractProvider } from '../providers/contract-providers.js'

export interface FailureReport {
  /** Queries that failed while the credentials failed. */
  failed: number
  /** Those of them whose error chain contains the original error. */
  withOriginal: number
  /** Those of them whose error chain contains a PgIamError with this code. */
  withCode: number
  /** Queries that succeeded after the credentials were available. */
  recovered: number
  /** Tokens created for these. */
  tokens: number
}

const QUERIES = 40

/** Long enough for any machine, and different from all other timers, so that it identifies them. */
const TOKEN_TIMEOUT_MS = 30_011

export async function runFailingProvider(
  entry: ClientEntry,
  order: ChildOrder,
): Promise<Record<string, FailureReport>> {
  const report: Record<string, FailureReport> = {}
  const { failures } = contractProvider(order.login.provider)
  for (const failure of failures) report[failure.name] = await runFailure(failure, entry, order)
  return report
}

async function runFailure(
  failure: Failure,
  entry: ClientEntry,
  order: ChildOrder,
): Promise<FailureReport> {
  const original = Object.assign(new Error('the metadata endpoint is gone'), { code: 'EHOSTDOWN' })
  let failing = true
  const login = loginOfChild(order.login, { tokenTimeoutMs: TOKEN_TIMEOUT_MS }, () =>
    failing ? failure.fail(original) : order.login.given,
  )
  const timers = hastenTimers(TOKEN_TIMEOUT_MS)
  const database = entry.open(login, entry.options({ poolSize: 5, log: () => {} }))
  const query = (): Promise<unknown> => database.run('SELECT 1 AS one')

  const failed = await settleAll(query)
  const errors = failed.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  )
  await eventually('no socket to be open', () => openSockets() === 0)
  // A provider that never responds is called after the token's time limit has started, and later connections share that call until it ends.
  await eventually('every time limit to be over', () => timers.pending() === 0)

  failing = false
  // A token that comes over the network must not exceed a time limit that is short for the test.
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
  /** The number of timers that have neither fired nor been cleared. */
  pending(): number
  restore(): void
}

/** Makes timers of this duration fire after a short time. */
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
  // Including the properties that Node defines there for util.promisify.
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

/** Standard output and input are pipes, so every TCP socket belongs to a client. */
function openSockets(): number {
  return process
    .getActiveResourcesInfo()
    .filter((type) => ['TCPSocketWrap', 'TCPWRAP', 'TLSWrap', 'TCPConnectWrap'].includes(type))
    .length
}

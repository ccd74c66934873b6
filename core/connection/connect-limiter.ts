/** Limits when a login may dial its next connection: by its rate, and with a backoff after failures. */
import {
  createMutex,
  fullJitter,
  sleep,
  type ConnectTimeLimit,
  withConnectTimeout,
} from '../async.js'
import { PgIamError } from '../errors.js'
import { isBeforeDialling, isConnectionLimit } from './endpoint-health.js'

/**
 * The outcome of a connection attempt: opened; refused because of the server's connection limit or connection rate; failed for another
 * reason; or abandoned before the server replied, which says nothing about the server.
 */
type ConnectOutcome = 'opened' | 'refused' | 'failed' | 'abandoned'

export interface ConnectLimiter {
  /**
   * Resolves when a connection may be dialled, with a function that must be called with the outcome. Rejects with `ERR_ABORTED` if `signal`
   * aborts first.
   */
  acquire(signal: AbortSignal): Promise<(outcome: ConnectOutcome) => void>
  /** Records that a connection was opened. Returns the functions to report its further course. */
  opened(): OpenedConnection
}

export interface OpenedConnection {
  /** Must be called when the server has answered a request. */
  served(): void
  /**
   * Must be called if the server ended the connection before it answered a request. Clients whose pool opens connections until one works
   * (Knex 3.3) would otherwise log in, with a token each, as fast as the server can end the connections.
   */
  dropped(): void
}

/** Clock in milliseconds, sleep and randomness, as parameters for tests and simulations. */
interface ConnectLimiterDeps {
  now: () => number
  sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  random: () => number
}

/** The maximum pause after the first failure. It doubles with each failure, up to the limit. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000

/**
 * The same after a refusal. The pause is halved by each connection that opens, down to the minimum, and not reset: a server that admits 100
 * connections per second to a fleet admits one now and then to each process, which does not mean that the queue is empty. With the longest
 * pause 1,000 processes send 200 requests per second, twice as many as are admitted.
 */
const FIRST_REFUSAL_PAUSE_MS = 100
const SHORTEST_REFUSAL_PAUSE_MS = 1
const LONGEST_REFUSAL_PAUSE_MS = 10_000

/**
 * Creates the limiter of a login. After a refusal, connections are dialled one at a time, each once the outcome of the previous one is
 * known: immediately after one that opened, otherwise after a pause with full jitter.
 *
 * @param connectRate connections per second; after an idle second, as many may be dialled at once. Default: no limit
 */
export function createConnectLimiter(
  connectRate?: number,
  deps: Partial<ConnectLimiterDeps> = {},
): ConnectLimiter {
  // A monotonic clock, since the system time may be set back.
  const { now = () => performance.now(), sleep: wait = sleep, random = Math.random } = deps
  const mutex = createMutex()
  const rate = createRate(connectRate)
  let failures = 0
  let lastFailureAt = 0
  let refusalPauseMs = 0
  let lastRefusalAt = 0
  let notBefore = 0
  let drops = 0
  let lastDropAt = 0
  let notBeforeDrop = 0

  const record = (outcome: ConnectOutcome, startedAt: number): void => {
    switch (outcome) {
      case 'opened':
        // For connections dialled together with one that was refused, success gives no new information.
        if (startedAt < lastRefusalAt) return
        failures = 0
        notBefore = 0
        refusalPauseMs /= 2
        if (refusalPauseMs < SHORTEST_REFUSAL_PAUSE_MS) refusalPauseMs = 0
        return
      case 'refused':
        // Connections that are refused together count as one refusal.
        if (startedAt < lastRefusalAt) return
        lastRefusalAt = now()
        refusalPauseMs = Math.max(FIRST_REFUSAL_PAUSE_MS, refusalPauseMs * 2)
        refusalPauseMs = Math.min(LONGEST_REFUSAL_PAUSE_MS, refusalPauseMs)
        notBefore = lastRefusalAt + random() * refusalPauseMs
        return
      case 'failed':
        if (failures === 0 || startedAt >= lastFailureAt) failures++
        lastFailureAt = now()
        notBefore = lastFailureAt + fullJitter(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, random)
        return
      case 'abandoned':
        rate.giveBack()
    }
  }
  const untilAllowed = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const delayMs = Math.max(rate.nextAt(now()), notBefore, notBeforeDrop) - now()
      if (delayMs <= 0) return
      // An outcome recorded during the pause may change the time.
      await wait(delayMs, signal)
    }
  }
  return {
    async acquire(signal) {
      const release = await mutex.acquire(signal)
      try {
        await untilAllowed(signal)
      } catch (error) {
        release()
        throw error
      }
      const startedAt = now()
      rate.take(startedAt)
      if (refusalPauseMs === 0 && drops === 0) release()
      return (outcome) => {
        record(outcome, startedAt)
        release()
      }
    },
    opened() {
      const openedAt = now()
      return {
        served() {
          if (openedAt < lastDropAt) return
          drops = 0
          notBeforeDrop = 0
        },
        dropped() {
          // Connections that are ended together count as one event.
          if (openedAt < lastDropAt) return
          drops++
          lastDropAt = now()
          notBeforeDrop = lastDropAt + fullJitter(drops, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, random)
        },
      }
    },
  }
}

interface Rate {
  /** When the next connection is within the rate. */
  nextAt(time: number): number
  take(time: number): void
  giveBack(): void
}

function createRate(perSecond: number | undefined): Rate {
  if (perSecond === undefined)
    return { nextAt: () => 0, take: () => undefined, giveBack: () => undefined }
  const intervalMs = 1_000 / perSecond
  const burst = Math.max(1, Math.floor(perSecond))
  let next = 0
  const nextAt = (time: number): number => Math.max(next, time - (burst - 1) * intervalMs)
  return {
    nextAt,
    take: (time) => {
      next = nextAt(time) + intervalMs
    },
    giveBack: () => {
      next -= intervalMs
    },
  }
}

// Opens a connection with rate limit, backoff and timeout.

/** The result of an attempt: a connection, or the server's refusal of it. */
export interface ConnectAttempt {
  socket: { destroy(): void }
  refusedWith?: string
}

interface LimitedConnect extends ConnectTimeLimit {
  limiter: ConnectLimiter
}

/**
 * Calls `connect` when the limiter allows it, and repeats it within the time limit while the server is at its connection limit.
 *
 * Resolves with the last such refusal when the time is up, so that the driver gets the server's error. Rejects with the error of `connect`,
 * or with `ERR_CONNECT_TIMEOUT`.
 */
export function connectWithBackoff<T extends ConnectAttempt>(
  { limiter, ...limit }: LimitedConnect,
  connect: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withConnectTimeout(limit, async (signal) => {
    let refused: T | undefined
    try {
      for (;;) {
        const attempted = await attemptOnce(limiter, signal, connect)
        if (!isConnectionLimit(attempted.refusedWith)) return attempted
        attempted.socket.destroy()
        refused = attempted
      }
    } catch (error) {
      const isTimedOut = signal.aborted && !limit.signal.aborted
      if (refused === undefined || !isTimedOut) throw error
      return refused
    }
  })
}

async function attemptOnce<T extends ConnectAttempt>(
  limiter: ConnectLimiter,
  signal: AbortSignal,
  connect: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const report = await acquireSlot(limiter, signal)
  let outcome: ConnectOutcome = 'abandoned'
  try {
    const attempted = await connect(signal)
    outcome = outcomeOf(attempted)
    return attempted
  } catch (error) {
    if (!isBeforeDialling(error) && !signal.aborted) outcome = 'failed'
    throw error
  } finally {
    report(outcome)
  }
}

/** Explains in the error that the time was spent waiting, and not on the network. */
async function acquireSlot(
  limiter: ConnectLimiter,
  signal: AbortSignal,
): ReturnType<ConnectLimiter['acquire']> {
  try {
    return await limiter.acquire(signal)
  } catch (cause) {
    throw new PgIamError(
      'ERR_ABORTED',
      'aborted while waiting for a connection slot (server backoff or "connectRate")',
      { cause },
    )
  }
}

function outcomeOf({ refusedWith }: ConnectAttempt): ConnectOutcome {
  if (refusedWith === undefined) return 'opened'
  return isConnectionLimit(refusedWith) ? 'refused' : 'failed'
}

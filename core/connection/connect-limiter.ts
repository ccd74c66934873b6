/** When a login may dial its next connection: not faster than its rate, and not at once again after the server refused. */
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
 * How a connection went: opened; refused, because the server has too many of them or too many at once; failed otherwise; or
 * given up before the server had its say, which tells nothing about it.
 */
type ConnectOutcome = 'opened' | 'refused' | 'failed' | 'abandoned'

export interface ConnectLimiter {
  /**
   * Resolves when a connection may be dialled, with the function that must be told how it went. Rejects with `ERR_ABORTED`
   * when `signal` fires before.
   */
  acquire(signal: AbortSignal): Promise<(outcome: ConnectOutcome) => void>
  /** Takes note that a connection has opened now. Returns what is to be told of it. */
  opened(): OpenedConnection
}

export interface OpenedConnection {
  /** Is to be called when the server has answered a request. */
  served(): void
  /**
   * Is to be called when the server ended the connection before it had answered a request. Clients whose pool opens connections until
   * one works (Knex 3.3) would else log in, with a token each, as fast as the server can end them.
   */
  dropped(): void
}

/** Clock in milliseconds, waiting and chance, as parameters for tests and simulations. */
interface ConnectLimiterDeps {
  now: () => number
  sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  random: () => number
}

/** The pause after the first failure, at the most; it doubles with each further one, up to the longest. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000

/**
 * The same after a refusal. It is halved again by each connection that opens, down to the shortest, and not forgotten at once:
 * a server that admits 100 connections a second to a fleet admits one now and then to each process, which must not take that
 * for the end of the queue. With the longest pause 1,000 processes ask 200 times a second, twice as often as there is a place.
 */
const FIRST_REFUSAL_PAUSE_MS = 100
const SHORTEST_REFUSAL_PAUSE_MS = 1
const LONGEST_REFUSAL_PAUSE_MS = 10_000

/**
 * Creates the limiter of a login. After a refusal, connections go one by one, each when it is known how the one before it went:
 * at once after one that opened, after a pause with full jitter otherwise.
 *
 * @param connectRate connections a second; after a quiet second, as many may go at once. Without it there is no limit.
 */
export function createConnectLimiter(
  connectRate?: number,
  deps: Partial<ConnectLimiterDeps> = {},
): ConnectLimiter {
  // Not the date, which may be set back while connections wait.
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

  const learn = (outcome: ConnectOutcome, startedAt: number): void => {
    switch (outcome) {
      case 'opened':
        // Of connections that were dialled together, the one that the server still had a place for says nothing new.
        if (startedAt < lastRefusalAt) return
        failures = 0
        notBefore = 0
        refusalPauseMs /= 2
        if (refusalPauseMs < SHORTEST_REFUSAL_PAUSE_MS) refusalPauseMs = 0
        return
      case 'refused':
        // And those that are refused together are one refusal.
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
  const untilDue = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const delayMs = Math.max(rate.nextAt(now()), notBefore, notBeforeDrop) - now()
      if (delayMs <= 0) return
      // What is learned meanwhile may move the time.
      await wait(delayMs, signal)
    }
  }
  return {
    async acquire(signal) {
      const release = await mutex.acquire(signal)
      try {
        await untilDue(signal)
      } catch (error) {
        release()
        throw error
      }
      const startedAt = now()
      rate.take(startedAt)
      if (refusalPauseMs === 0 && drops === 0) release()
      return (outcome) => {
        learn(outcome, startedAt)
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
          // Those that are ended together are one event.
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
  /** When the next place is free. */
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

// Opens a connection at the pace and within the time that a login allows, and asks a server again that has too many.

/** What an attempt came to: a connection, or the server's refusal of it. */
export interface ConnectAttempt {
  socket: { destroy(): void }
  refusedWith?: string
}

interface LimitedConnect extends ConnectTimeLimit {
  limiter: ConnectLimiter
}

/**
 * Calls `connect` when the limiter admits it, and again, as long as there is time, while the server has too many connections.
 *
 * Resolves with the last such refusal when the time is up: the server's own words are for the driver. Rejects with the error of
 * `connect`, or with `ERR_CONNECT_TIMEOUT`.
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
      const isTimeUp = signal.aborted && !limit.signal.aborted
      if (refused === undefined || !isTimeUp) throw error
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

/** Whoever reads of a timeout must not look for the cause in the network. */
async function acquireSlot(
  limiter: ConnectLimiter,
  signal: AbortSignal,
): ReturnType<ConnectLimiter['acquire']> {
  try {
    return await limiter.acquire(signal)
  } catch (cause) {
    throw new PgIamError(
      'ERR_ABORTED',
      'the connection was waiting for its turn, because the server had refused others or because of "connectRate"',
      { cause },
    )
  }
}

function outcomeOf({ refusedWith }: ConnectAttempt): ConnectOutcome {
  if (refusedWith === undefined) return 'opened'
  return isConnectionLimit(refusedWith) ? 'refused' : 'failed'
}

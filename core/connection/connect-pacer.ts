/** When a login may dial its next connection: not faster than its rate, and not at once again after the server refused. */
import { fullJitter } from '../full-jitter.js'
import { pause } from '../pause.js'

export interface ConnectPacer {
  /** Resolves when a connection may be dialled. Rejects with `ERR_ABORTED` when `signal` fires before. */
  admit(signal: AbortSignal): Promise<void>
  /** Says that a connection begun at `startedAt` could not be opened. */
  failed(startedAt: number): void
  succeeded(): void
}

/** Clock, waiting and chance, as parameters for tests and simulations. */
export interface PacerSurroundings {
  now: () => number
  pause: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  random: () => number
}

/** The pause after the first failure, at the most; it doubles with each further one, up to the longest. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000

/**
 * Creates the pacer of a login.
 *
 * @param connectRate connections a second; after a quiet second, as many may go at once. Without it there is no limit.
 */
export function createConnectPacer(
  connectRate?: number,
  surroundings: Partial<PacerSurroundings> = {},
): ConnectPacer {
  const { now = Date.now, pause: wait = pause, random = Math.random } = surroundings
  const intervalMs = connectRate === undefined ? 0 : 1_000 / connectRate
  const burst = connectRate === undefined ? 0 : Math.max(1, Math.floor(connectRate))
  let nextAt = 0
  let failures = 0
  let lastFailureAt = 0
  let notBefore = 0

  /** The time at which the next place in the rate is free; taking it moves the one after it. */
  const takePlace = (): number => {
    if (connectRate === undefined) return 0
    nextAt = Math.max(nextAt, now() - (burst - 1) * intervalMs)
    const place = nextAt
    nextAt += intervalMs
    return place
  }
  return {
    async admit(signal) {
      const delayMs = Math.max(takePlace(), notBefore) - now()
      if (delayMs > 0) await wait(delayMs, signal)
    },
    failed(startedAt) {
      // Connections that were dialled together and fail together are one failure.
      if (failures === 0 || startedAt >= lastFailureAt) failures++
      lastFailureAt = now()
      notBefore = lastFailureAt + fullJitter(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, random)
    },
    succeeded() {
      failures = 0
      notBefore = 0
    },
  }
}

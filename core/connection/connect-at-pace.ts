/** Opens a connection at the pace and within the time that a login allows, and asks a server again that has too many. */
import { PgIamError } from '../errors.js'
import type { ConnectOutcome, ConnectPacer } from './connect-pacer.js'
import { isTooMany } from './refusal-codes.js'
import { isBeforeDialling } from './try-endpoints.js'
import { withinTime, type TimeLimit } from './within-time.js'

/** What an attempt came to: a connection, or the server's refusal of it. */
export interface Attempted {
  socket: { destroy(): void }
  refusedWith?: string
}

export interface PacedConnect extends TimeLimit {
  pacer: ConnectPacer
}

/**
 * Calls `connect` when the pacer admits it, and again, as long as there is time, while the server has too many connections.
 *
 * Resolves with the last such refusal when the time is up: the server's own words are for the driver. Rejects with the error of
 * `connect`, or with `ERR_CONNECT_TIMEOUT`.
 */
export function connectAtPace<T extends Attempted>(
  { pacer, ...limit }: PacedConnect,
  connect: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withinTime(limit, async (untilThen) => {
    let refused: T | undefined
    try {
      for (;;) {
        const attempted = await attemptOnce(pacer, untilThen, connect)
        if (!isTooMany(attempted.refusedWith)) return attempted
        attempted.socket.destroy()
        refused = attempted
      }
    } catch (error) {
      const isTimeUp = untilThen.aborted && !limit.signal.aborted
      if (refused === undefined || !isTimeUp) throw error
      return refused
    }
  })
}

async function attemptOnce<T extends Attempted>(
  pacer: ConnectPacer,
  signal: AbortSignal,
  connect: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const report = await admission(pacer, signal)
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
async function admission(
  pacer: ConnectPacer,
  signal: AbortSignal,
): ReturnType<ConnectPacer['admit']> {
  try {
    return await pacer.admit(signal)
  } catch (cause) {
    throw new PgIamError(
      'ERR_ABORTED',
      'the connection was waiting for its turn, because the server had refused others or because of "connectRate"',
      { cause },
    )
  }
}

function outcomeOf({ refusedWith }: Attempted): ConnectOutcome {
  if (refusedWith === undefined) return 'opened'
  return isTooMany(refusedWith) ? 'refused' : 'failed'
}

/** Opens a connection at the pace and within the time that a login allows, and asks a server again that has too many. */
import { fullJitter } from '../full-jitter.js'
import { pause } from '../pause.js'
import type { ConnectPacer, PacerSurroundings } from './connect-pacer.js'
import { isBeforeDialling } from './try-endpoints.js'
import { withinTime, type TimeLimit } from './within-time.js'

/** What an attempt came to: a connection, or a refusal in the words of the server. */
export interface Attempted {
  socket: { destroy(): void }
  refusedWith?: string
}

export interface PacedConnect extends TimeLimit {
  pacer: ConnectPacer | undefined
}

export async function connectAtPace<T extends Attempted>(
  request: PacedConnect,
  connect: (signal: AbortSignal) => Promise<T>,
  surroundings: Partial<PacerSurroundings> = {},
): Promise<T> {
  const { now = Date.now, pause: wait = pause, random = Math.random } = surroundings
  const endAt = now() + request.timeoutMs
  return withinTime(request, async (untilThen) => {
    for (let round = 1; ; round++) {
      const opened = await paced(request.pacer, untilThen, connect, now)
      const delayMs = fullJitter(round, FIRST_REFUSAL_PAUSE_MS, LONGEST_REFUSAL_PAUSE_MS, random)
      const isTimeLeft = now() + delayMs < endAt
      if (!isTimeLeft || opened.refusedWith === undefined || !TOO_MANY.has(opened.refusedWith))
        return opened
      opened.socket.destroy()
      await wait(delayMs, untilThen)
    }
  })
}

const FIRST_REFUSAL_PAUSE_MS = 100
const LONGEST_REFUSAL_PAUSE_MS = 3_000

/**
 * "Too many open connections" and "rate exceeded" of Aurora DSQL; PostgreSQL uses the first for its own limit.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
const TOO_MANY: ReadonlySet<string> = new Set(['53300', '53400'])

/** Lets the login's pacer say when to begin, and tells it how it went. What fails before the server is reached says nothing about it. */
async function paced<T extends Attempted>(
  pacer: ConnectPacer | undefined,
  signal: AbortSignal,
  connect: (signal: AbortSignal) => Promise<T>,
  now: () => number,
): Promise<T> {
  await pacer?.admit(signal)
  const startedAt = now()
  try {
    const opened = await connect(signal)
    if (opened.refusedWith === undefined) pacer?.succeeded()
    else pacer?.failed(startedAt)
    return opened
  } catch (error) {
    if (!isBeforeDialling(error) && !signal.aborted) pacer?.failed(startedAt)
    throw error
  }
}

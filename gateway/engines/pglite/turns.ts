/** A FIFO lock with time limits: one session at a time uses PGlite. */
import { ServerError } from '../../../wire/error-response.js'

export interface Turns {
  readonly limits: TurnLimits
  /** @param overstayed called when the holder was idle for `idleInTransactionTimeoutMs` while others waited */
  ask(overstayed: () => void): TurnRequest
  /** Whether other sessions wait for the turn. */
  readonly isContended: boolean
}

export interface TurnRequest {
  /** Rejects with the `ServerError` 55P03 after `lockTimeoutMs`, and with the reason of `withdraw`. */
  readonly turn: Promise<Turn>
  /** Stops waiting. Does nothing once the turn is acquired. */
  withdraw(reason: ServerError): void
}

export interface Turn {
  /** Sets whether PGlite waits for the holder of the turn. This matters only while other sessions wait for the turn. */
  setIdle(idle: boolean): void
  /** Passes the turn to the next session. Must be called once. */
  release(): void
}

export interface TurnLimits {
  readonly lockTimeoutMs: number
  readonly idleInTransactionTimeoutMs: number
}

export interface TurnsSettings {
  readonly limits: TurnLimits
  /**
   * For a PGlite that other code uses too: acquires exclusive access, and returns the function that releases it. The engine cannot see
   * whether that code waits, so `idleInTransactionTimeoutMs` then always applies.
   */
  readonly acquire?: () => Promise<() => void>
}

export function createTurns({ limits, acquire }: TurnsSettings): Turns {
  const waiting = new Set<Entry>()
  /** Whether the turn is taken or being acquired from other code. */
  let taken = false
  let holder: { checkPatience(): void } | undefined

  const next = (): void => {
    const [entry] = waiting
    if (taken || entry === undefined) return
    taken = true
    if (acquire === undefined) return give(entry, () => {})
    acquire().then(
      (release) => {
        if (waiting.has(entry)) return give(entry, release)
        release()
        pass()
      },
      (error: unknown) => {
        entry.leave()
        entry.reject(error)
        pass()
      },
    )
  }
  const pass = (): void => {
    taken = false
    next()
  }
  const give = (entry: Entry, release: () => void): void => {
    entry.leave()
    let idle = false
    let timer: NodeJS.Timeout | undefined
    const mine = {
      checkPatience(): void {
        if (idle && (waiting.size > 0 || acquire !== undefined)) {
          timer ??= setTimeout(entry.overstayed, limits.idleInTransactionTimeoutMs)
        } else {
          clearTimeout(timer)
          timer = undefined
        }
      },
    }
    holder = mine
    entry.resolve({
      setIdle(now) {
        idle = now
        if (holder === mine) mine.checkPatience()
      },
      release() {
        clearTimeout(timer)
        if (holder !== mine) return
        holder = undefined
        release()
        pass()
      },
    })
  }

  return {
    limits,
    ask(overstayed) {
      let withdraw: (reason: ServerError) => void = () => {}
      const turn = new Promise<Turn>((resolve, reject) => {
        const entry: Entry = {
          overstayed,
          resolve,
          reject,
          leave() {
            clearTimeout(timer)
            waiting.delete(entry)
            holder?.checkPatience()
          },
        }
        withdraw = (reason) => {
          if (!waiting.has(entry)) return
          entry.leave()
          reject(reason)
        }
        const timer = setTimeout(() => withdraw(waitedTooLong(limits)), limits.lockTimeoutMs)
        waiting.add(entry)
        next()
        if (waiting.has(entry)) holder?.checkPatience()
      })
      return { turn, withdraw: (reason) => withdraw(reason) }
    },
    get isContended() {
      return waiting.size > 0
    },
  }
}

interface Entry {
  overstayed(): void
  resolve(turn: Turn): void
  reject(reason: unknown): void
  leave(): void
}

/** The hint of errors about sessions that block each other. */
const ONE_AT_A_TIME =
  'PGlite runs one transaction at a time. Use the engine "postgres" for concurrent transactions, or send all statements of a transaction on its own connection and end it soon.'

function waitedTooLong({ lockTimeoutMs }: TurnLimits): ServerError {
  return new ServerError(
    '55P03',
    `canceling statement due to lock timeout: another transaction on PGlite took longer than the gateway's "lockTimeoutMs" (${lockTimeoutMs} ms)`,
    { hint: ONE_AT_A_TIME },
  )
}

export function idleTooLong(
  { idleInTransactionTimeoutMs }: TurnLimits,
  severity: 'ERROR' | 'FATAL',
): ServerError {
  return new ServerError(
    '25P03',
    `terminating transaction due to idle-in-transaction timeout: it blocked other clients of PGlite and was idle for longer than the gateway's "idleInTransactionTimeoutMs" (${idleInTransactionTimeoutMs} ms)`,
    {
      severity,
      detail:
        'The transaction was rolled back. Temporary tables, cursors and advisory locks of the session were released.',
      hint: ONE_AT_A_TIME,
    },
  )
}

/** Lets one session at a time have PGlite, in the order in which they asked. */
import { ServerError } from '../../../wire/error-response.js'

export interface Turns {
  readonly limits: TurnLimits
  /** @param overstayed called when the holder of the turn has left others waiting for too long while it was idle */
  ask(overstayed: () => void): TurnRequest
  /** Whether somebody waits for the turn that is taken. */
  readonly isContended: boolean
}

export interface TurnRequest {
  /** Rejects with the `ServerError` 55P03 when it takes too long, and with that of `withdraw`. */
  readonly turn: Promise<Turn>
  /** Stops waiting. Does nothing once the turn has come. */
  withdraw(reason: ServerError): void
}

export interface Turn {
  /** Says whether PGlite waits for the holder of the turn, which only matters while others wait for the holder, too. */
  setIdle(idle: boolean): void
  /** Gives the turn to the next one. Must be called once. */
  release(): void
}

export interface TurnLimits {
  readonly lockTimeoutMs: number
  readonly idleInTransactionTimeoutMs: number
}

export interface TurnsSettings {
  readonly limits: TurnLimits
  /**
   * Where other code uses the same PGlite: waits for its turn among that code, and returns what ends the turn. That code may wait at any
   * time without anybody seeing it, so `idleInTransactionTimeoutMs` counts always.
   */
  readonly acquire?: () => Promise<() => void>
}

export function createTurns({ limits, acquire }: TurnsSettings): Turns {
  const waiting = new Set<Entry>()
  /** Whether the turn is taken, or is being got from other code. */
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

/** What to do about it, in the errors of sessions that get in each other's way. */
const ONE_AT_A_TIME =
  'PGlite runs one transaction at a time: use the engine "postgres" for transactions side by side. Otherwise send all statements of a transaction on its own connection, and end it soon.'

function waitedTooLong({ lockTimeoutMs }: TurnLimits): ServerError {
  return new ServerError(
    '55P03',
    `canceling statement due to lock timeout: another transaction on PGlite took longer than the gateway's "lockTimeoutMs" (${lockTimeoutMs} ms)`,
    { hint: ONE_AT_A_TIME },
  )
}

/** @param what what the session kept: a transaction, a temporary table */
export function idleTooLong(
  { idleInTransactionTimeoutMs }: TurnLimits,
  severity: 'ERROR' | 'FATAL',
): ServerError {
  return new ServerError(
    '25P03',
    `terminating transaction due to idle-in-transaction timeout: it kept other clients of PGlite waiting and was idle for longer than the gateway's "idleInTransactionTimeoutMs" (${idleInTransactionTimeoutMs} ms)`,
    {
      severity,
      detail:
        'The transaction was rolled back; temporary tables, cursors and advisory locks of the session are gone.',
      hint: ONE_AT_A_TIME,
    },
  )
}

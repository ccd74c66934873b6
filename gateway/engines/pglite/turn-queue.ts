/** Lets one session at a time have the engine, in the order in which they asked. */
import { ServerError } from '../../wire/server-error.js'

export interface TurnQueue {
  readonly limits: TurnLimits
  /** @param claim what is to happen to it on the way */
  ask(claim: TurnClaim): TurnRequest
  /** Whether somebody waits for the turn that is taken. */
  readonly isContended: boolean
}

export interface TurnClaim {
  /** Whether waiting has no limit. */
  isPatient: boolean
  /** Called when the one that has the turn has left others waiting for too long while it was idle. */
  onOverstayed(): void
}

export interface TurnRequest {
  /** Rejects with the `ServerError` 55P03 when it takes too long, and with that of `withdraw`. */
  readonly turn: Promise<Turn>
  /** Stops waiting. Does nothing once the turn has come. */
  withdraw(reason: ServerError): void
}

export interface Turn {
  /** Tells whether the engine waits for the one that has the turn, which only matters while others wait for that one, too. */
  setIdle(idle: boolean): void
  /** Gives the turn to the next one. Must be called once. */
  release(): void
}

export interface TurnLimits {
  lockTimeoutMs: number
  idleInTransactionTimeoutMs: number
}

export function createTurnQueue(limits: TurnLimits): TurnQueue {
  const waiting = new Set<() => void>()
  let holder: { checkPatience(): void } | undefined

  const passOn = (): void => {
    holder = undefined
    const [next] = waiting
    next?.()
  }

  const give = (claim: TurnClaim): Turn => {
    let idle = false
    let timer: NodeJS.Timeout | undefined
    const checkPatience = (): void => {
      if (idle && waiting.size > 0) {
        timer ??= setTimeout(() => claim.onOverstayed(), limits.idleInTransactionTimeoutMs)
      } else {
        clearTimeout(timer)
        timer = undefined
      }
    }
    const mine = { checkPatience }
    holder = mine
    return {
      setIdle(now) {
        idle = now
        if (holder === mine) checkPatience()
      },
      release() {
        clearTimeout(timer)
        if (holder === mine) passOn()
      },
    }
  }

  const wait = (claim: TurnClaim): TurnRequest => {
    let withdraw: (reason: ServerError) => void = () => {}
    const turn = new Promise<Turn>((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer)
        waiting.delete(enter)
        holder?.checkPatience()
      }
      const enter = (): void => {
        leave()
        resolve(give(claim))
      }
      withdraw = (reason) => {
        if (!waiting.has(enter)) return
        leave()
        reject(reason)
      }
      const timer = claim.isPatient
        ? undefined
        : setTimeout(() => withdraw(waitedTooLong(limits.lockTimeoutMs)), limits.lockTimeoutMs)
      waiting.add(enter)
      holder?.checkPatience()
    })
    return { turn, withdraw }
  }

  return {
    limits,
    ask(claim) {
      if (holder !== undefined) return wait(claim)
      return { turn: Promise.resolve(give(claim)), withdraw: () => {} }
    },
    get isContended() {
      return waiting.size > 0
    },
  }
}

function waitedTooLong(milliseconds: number): ServerError {
  return new ServerError(
    '55P03',
    `canceling statement due to lock timeout: PGlite runs one transaction at a time, and another client's took more than the gateway's "lockTimeoutMs" (${milliseconds} ms)`,
    { hint: ONE_TRANSACTION_AT_A_TIME },
  )
}

/** What to do about it, in the errors of sessions that get in each other's way. */
export const ONE_TRANSACTION_AT_A_TIME =
  'Within a transaction use its own client only, and end it soon. For transactions side by side put the gateway in front of a PostgreSQL: startGateway({ upstream }).'

/** Lets callers through one at a time, in the order in which they came. */
import { aborted } from '../pause.js'
import { createWaitingLine } from './waiting-line.js'

export interface Turns {
  /** Resolves when it is the caller's turn, with the function that ends it. Rejects with `ERR_ABORTED` when `signal` fires before. */
  take(signal: AbortSignal): Promise<() => void>
}

export function createTurns(): Turns {
  const waiting = createWaitingLine<() => void>()
  let isTaken = false
  const endOfTurn = (): (() => void) => {
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const next = waiting.next()
      if (next === undefined) isTaken = false
      else next()
    }
  }
  return {
    take: (signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(aborted(signal))
          return
        }
        if (!isTaken) {
          isTaken = true
          resolve(endOfTurn())
          return
        }
        const abort = (): void => {
          leave()
          reject(aborted(signal))
        }
        const leave = waiting.join(() => {
          signal.removeEventListener('abort', abort)
          resolve(endOfTurn())
        })
        signal.addEventListener('abort', abort, { once: true })
      }),
  }
}

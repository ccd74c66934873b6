/** Lets callers through one at a time, in the order in which they came. */
import { aborted } from '../pause.js'

export interface Turns {
  /** Resolves when it is the caller's turn, with the function that ends it. Rejects with `ERR_ABORTED` when `signal` fires before. */
  take(signal: AbortSignal): Promise<() => void>
}

export function createTurns(): Turns {
  const waiting = new Set<() => void>()
  let isTaken = false
  const endOfTurn = (): (() => void) => {
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const [next] = waiting
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
          waiting.delete(begin)
          reject(aborted(signal))
        }
        const begin = (): void => {
          waiting.delete(begin)
          signal.removeEventListener('abort', abort)
          resolve(endOfTurn())
        }
        waiting.add(begin)
        signal.addEventListener('abort', abort, { once: true })
      }),
  }
}

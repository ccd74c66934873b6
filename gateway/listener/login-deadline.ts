/** The time that a client has for its whole login. */

export interface Deadline {
  /**
   * Settles as `work` does, or rejects with what `timedOut` makes at the deadline, or with the reason of `cut`. A result that comes
   * after that is handed to `late`.
   */
  race<T>(work: Promise<T>, timedOut: () => Error, late?: (result: T) => void): Promise<T>
  /** Ends the time now. */
  cut(reason: () => Error): void
  clear(): void
}

export function createDeadline(milliseconds: number): Deadline {
  let expired = false
  let cutReason: (() => Error) | undefined
  let expire: (() => void) | undefined
  const end = (): void => {
    expired = true
    expire?.()
  }
  const timer = setTimeout(end, milliseconds)
  return {
    race: (work, timedOut, late) =>
      new Promise((resolve, reject) => {
        expire = () => reject((cutReason ?? timedOut)())
        work.then((result) => (expired ? late?.(result) : resolve(result)), reject)
        if (expired) expire()
      }),
    cut(reason) {
      cutReason = reason
      end()
    },
    clear: () => clearTimeout(timer),
  }
}

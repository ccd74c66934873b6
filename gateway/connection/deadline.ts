/** The time limit of a login. */
export interface Deadline {
  /** Settles as `work` does, or rejects with the error of `timedOut` at the deadline, or with the reason of `cut`. */
  race<T>(work: Promise<T>, timedOut: () => Error): Promise<T>
  /** Expires the deadline now. */
  cut(reason: () => Error): void
  /** Starts the time anew, with the given milliseconds in addition. Does nothing for 0. */
  extend(milliseconds: number): void
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
  let timer = setTimeout(end, milliseconds)
  return {
    race: (work, timedOut) =>
      new Promise((resolve, reject) => {
        expire = () => reject((cutReason ?? timedOut)())
        work.then(resolve, reject)
        if (expired) expire()
      }),
    cut(reason) {
      cutReason = reason
      end()
    },
    extend(more) {
      if (more === 0 || expired) return
      clearTimeout(timer)
      timer = setTimeout(end, milliseconds + more)
    },
    clear: () => clearTimeout(timer),
  }
}

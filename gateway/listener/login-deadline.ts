/** The time that a client has for its whole login. */

export interface Deadline {
  /**
   * Settles as `work` does, or rejects with what `timedOut` makes at the deadline. A result that comes after it is handed to
   * `late`.
   */
  race<T>(work: Promise<T>, timedOut: () => Error, late?: (result: T) => void): Promise<T>
  clear(): void
}

export function createDeadline(milliseconds: number): Deadline {
  let expired = false
  let expire: (() => void) | undefined
  const timer = setTimeout(() => {
    expired = true
    expire?.()
  }, milliseconds)
  return {
    race: (work, timedOut, late) =>
      new Promise((resolve, reject) => {
        expire = () => reject(timedOut())
        work.then((result) => (expired ? late?.(result) : resolve(result)), reject)
        if (expired) expire()
      }),
    clear: () => clearTimeout(timer),
  }
}

/** Gives up waiting for work that may never end. */

/** Settles as `work` does, or rejects with what `timeoutError` makes once that took longer than `milliseconds`. */
export function withinTimeout<T>(
  work: Promise<T>,
  milliseconds: number,
  timeoutError: () => Error,
): Promise<T> {
  // Not by Promise.race and async functions: a token is made for each connection, and each costs promises of its own.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(timeoutError()), milliseconds)
    work.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error as Error)
      },
    )
  })
}

/** Gives up waiting for work that may never end. */

/** Settles as `work` does, or rejects with what `timeoutError` makes once that took longer than `milliseconds`. */
export async function withinTimeout<T>(
  work: Promise<T>,
  milliseconds: number,
  timeoutError: () => Error,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(timeoutError()), milliseconds)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}

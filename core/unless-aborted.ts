/** Stops waiting for work that cannot be stopped itself. */

/** Settles as `work` does, or rejects with the reason of `signal` as soon as that fires. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abandon = (): void => reject(signal.reason as Error)
    if (signal.aborted) abandon()
    signal.addEventListener('abort', abandon, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon))
  })
}

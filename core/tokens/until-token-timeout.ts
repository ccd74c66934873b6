/** Stops work that can be stopped when the time for a token is up. */
import { tokenTimeout } from './token-timeout.js'

/** Runs `work` with a signal that fires after `milliseconds`. What fails from then on failed for that: `ERR_TOKEN_TIMEOUT`. */
export async function untilTokenTimeout<T>(
  milliseconds: number,
  purpose: string,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(milliseconds)
  try {
    return await work(signal)
  } catch (error) {
    throw signal.aborted ? tokenTimeout(`${purpose} within ${milliseconds} ms`) : error
  }
}

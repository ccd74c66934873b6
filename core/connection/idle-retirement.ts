/** Ends connections that have reached their age and do nothing, for pools that only look at those they hand out. */

export interface IdleRetirement {
  cancel(): void
}

/** What a connection does. It is looked at when the time has come, so that it costs the queries before that nothing. */
export interface Activity {
  /** Whether the server waits for a request, outside of any transaction. */
  readonly isIdle: boolean
  /** Grows with whatever is sent or received. */
  readonly traffic: number
}

/**
 * Calls `retire` once the connection is `lifetimeMs` old and has been idle, outside of any transaction, for a while. A pool that
 * refuses connections of that age when it is asked for one does not use it any more by then.
 */
export function retireWhenIdle(
  lifetimeMs: number,
  activity: Activity,
  retire: () => void,
): IdleRetirement {
  const quietMs = Math.min(LONGEST_QUIET_MS, lifetimeMs / 10)
  let before: number | undefined
  const check = (): void => {
    const { isIdle, traffic } = activity
    if (isIdle && traffic === before) retire()
    else timer = setTimeout(check, quietMs).unref()
    before = traffic
  }
  let timer = setTimeout(check, lifetimeMs - quietMs).unref()
  return {
    // Node (20) keeps a list for each duration, and this one's is its own. It goes with its last timer, but only of those that keep
    // the process alive; else it would stay until the lifetime is over.
    cancel: () => clearTimeout(timer.ref()),
  }
}

const LONGEST_QUIET_MS = 5_000

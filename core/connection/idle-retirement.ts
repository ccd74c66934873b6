/** Ends connections that have reached their age and do nothing, for pools that only look at those they hand out. */
import { endsReadyAndIdle } from '../wire/ready-for-query.js'

export interface IdleRetirement {
  /** Says that the driver has written. */
  wrote(): void
  /** Shows what the server has sent. */
  received(chunk: Buffer): void
  cancel(): void
}

/**
 * Calls `retire` once the connection is `lifetimeMs` old and has been idle, outside of any transaction, for a while. A pool that
 * refuses connections of that age when it is asked for one does not use it any more by then.
 */
export function retireWhenIdle(lifetimeMs: number, retire: () => void): IdleRetirement {
  const quietMs = Math.min(LONGEST_QUIET_MS, lifetimeMs / 10)
  let isIdle = true
  let lastUse = Date.now()
  const check = (): void => {
    if (isIdle && Date.now() - lastUse >= quietMs) retire()
    else timer = setTimeout(check, quietMs).unref()
  }
  let timer = setTimeout(check, lifetimeMs).unref()
  return {
    wrote: () => {
      isIdle = false
      lastUse = Date.now()
    },
    received: (chunk) => {
      // What a server sends of its own accord, such as a notification, ends no idleness.
      isIdle ||= endsReadyAndIdle(chunk)
      lastUse = Date.now()
    },
    // Node (20) keeps a list for each duration, and this one's is its own. It goes with its last timer, but only of those that keep
    // the process alive; else it would stay until the lifetime is over.
    cancel: () => clearTimeout(timer.ref()),
  }
}

const LONGEST_QUIET_MS = 5_000

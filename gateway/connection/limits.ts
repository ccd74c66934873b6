/** Limits of sessions, pending logins and memory, shared by connections, and the time limit of a login. */
import { type Check, checkOptions, integerWithin } from '../../core/options/check.js'

export interface LimitOptions {
  /** The maximum number of open sessions, from 1 to 65,535. Default 10,000. */
  maxConnections?: number
  /**
   * How long a client that has logged in waits for one of the `maxConnections`, in milliseconds, from 0 to 600,000. Then it gets
   * SQLSTATE 53300. Default 0.
   */
  queueTimeoutMs?: number
  /**
   * The maximum number of connections that have not logged in yet, from 1 to 65,535. Another one closes the oldest of them. Default 1,000.
   */
  maxPendingLogins?: number
  /**
   * The memory for buffered client messages, in bytes and for all clients together, from 65,536 to 4,294,967,296. It holds incomplete
   * messages and messages that the engine has not read yet. A longer message ends its session with SQLSTATE 54000. If the total exceeds
   * the limit, the session that buffers most ends with 53200. Default 268,435,456, which is 256 MiB.
   */
  maxBufferedBytes?: number
}

/** Limits that several connections share: pass the same object to `handleConnection` for each of them. */
export interface Limits {
  /** @internal */
  readonly logins: PendingLogins
  /** @internal */
  readonly seats: Seats
  /** @internal */
  readonly buffers: BufferBudget
}

export const LIMIT_CHECKS: Readonly<Record<keyof LimitOptions, Check<number>>> = {
  maxConnections: integerWithin(1, 65_535, 'connections'),
  queueTimeoutMs: integerWithin(0, 600_000, 'milliseconds'),
  maxPendingLogins: integerWithin(1, 65_535, 'connections'),
  maxBufferedBytes: integerWithin(65_536, 4_294_967_296, 'bytes'),
}

/**
 * Creates the limits for a server's connections. Exported from `'pg-iam/gateway'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID` for invalid or unknown options.
 */
export function createLimits(options: LimitOptions = {}): Limits {
  const {
    maxConnections = 10_000,
    queueTimeoutMs = 0,
    maxPendingLogins = 1_000,
    maxBufferedBytes = 268_435_456,
  } = checkOptions(options, LIMIT_CHECKS)
  return {
    logins: createPendingLogins(maxPendingLogins),
    seats: createSeats(maxConnections, queueTimeoutMs),
    buffers: createBufferBudget(maxBufferedBytes),
  }
}

// Connections that have not logged in yet.

export interface PendingLogins {
  /**
   * Adds a connection. If there are too many, the oldest one is ended. So idle connections cannot block logins: a login takes less time than
   * the server needs to accept the `maxPendingLogins` connections that would evict it.
   *
   * @param evict ends the connection
   * @returns the function that removes the connection
   */
  begin(evict: () => void): () => void
}

function createPendingLogins(max: number): PendingLogins {
  // Ordered by age.
  const logins = new Set<{ evict: () => void }>()
  return {
    begin(evict) {
      const login = { evict }
      logins.add(login)
      const [oldest] = logins
      if (logins.size > max && oldest !== undefined) {
        logins.delete(oldest)
        oldest.evict()
      }
      return () => void logins.delete(login)
    },
  }
}

// Open sessions.

export interface Seats {
  /** Whether a session could be opened now, or there is a queue. */
  readonly isAvailable: boolean
  /**
   * Reserves a session, after a wait in the order of arrival. Resolves with the function that releases it, or with `undefined` if none is
   * released in time.
   *
   * @param left resolves when the client has left
   */
  take(left: Promise<unknown>): Promise<(() => void) | undefined>
  readonly queueTimeoutMs: number
}

export function createSeats(max: number, queueTimeoutMs: number): Seats {
  const queue = new Set<() => void>()
  let taken = 0
  const seat = (): (() => void) => {
    taken++
    let isTaken = true
    return () => {
      if (!isTaken) return
      isTaken = false
      taken--
      const [next] = queue
      next?.()
    }
  }
  return {
    queueTimeoutMs,
    get isAvailable() {
      return taken < max || queueTimeoutMs > 0
    },
    async take(left) {
      if (taken < max) return seat()
      if (queueTimeoutMs === 0) return undefined
      return new Promise((resolve) => {
        const settle = (release: (() => void) | undefined): void => {
          clearTimeout(timer)
          queue.delete(proceed)
          resolve(release)
        }
        const proceed = (): void => settle(seat())
        const timer = setTimeout(() => settle(undefined), queueTimeoutMs)
        queue.add(proceed)
        void left.then(() => settle(undefined))
      })
    },
  }
}

// The memory, shared by all clients, for incomplete messages and for messages that the engine has not read yet.

export interface BufferBudget {
  readonly maxBytes: number
  /** @param exceeded ends the client; called if the budget is exceeded and the client buffers most */
  open(exceeded: () => void): BufferAccount
}

interface BufferAccount {
  /** Sets the number of bytes that are currently buffered for the client. */
  hold(bytes: number): void
  close(): void
}

/** If the budget is exceeded, the client that buffers most is ended, not the one whose message exceeded it. */
export function createBufferBudget(maxBytes: number): BufferBudget {
  const accounts = new Set<{ bytes: number; exceeded: () => void }>()
  let total = 0
  return {
    maxBytes,
    open(exceeded) {
      const account = { bytes: 0, exceeded }
      accounts.add(account)
      const close = (one: typeof account): void => {
        if (accounts.delete(one)) total -= one.bytes
      }
      return {
        hold(bytes) {
          if (!accounts.has(account)) return
          total += bytes - account.bytes
          account.bytes = bytes
          while (total > maxBytes) {
            const [first, ...others] = accounts
            const largest = others.reduce((a, b) => (b.bytes > a.bytes ? b : a), first!)
            close(largest)
            largest.exceeded()
          }
        },
        close: () => close(account),
      }
    },
  }
}

// The time limit of a login.

export interface Deadline {
  /** Settles as `work` does, or rejects with the error of `timedOut` at the deadline, or with the reason of `cut`. */
  race<T>(work: Promise<T>, timedOut: () => Error): Promise<T>
  /** Expires the deadline now. */
  cut(reason: () => Error): void
  /** Restarts the time limit, extended by the given milliseconds. Does nothing for 0. */
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
    clear() {
      clearTimeout(timer)
      expire = undefined
    },
  }
}

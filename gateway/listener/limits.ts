/** Limits of connections and memory, shared by all clients of a gateway. */

export interface Room {
  /**
   * Adds a connection to those that have not logged in. If there are too many, the oldest one is ended. So idle connections cannot block
   * logins: a login takes less time than the gateway needs to accept the `maxPendingLogins` connections that would evict it.
   *
   * @param evict ends the connection
   * @returns the function that removes the connection
   */
  beginLogin(evict: () => void): () => void
  /** Whether another session may be opened. */
  readonly hasSeat: boolean
  /** Reserves a session. Returns the function that releases it, or `undefined` if the limit is reached. */
  takeSeat(): (() => void) | undefined
}

interface RoomLimits {
  maxConnections: number
  maxPendingLogins: number
}

export function createRoom({ maxConnections, maxPendingLogins }: RoomLimits): Room {
  // Ordered by age.
  const logins = new Set<{ evict: () => void }>()
  let taken = 0
  return {
    beginLogin(evict) {
      const login = { evict }
      logins.add(login)
      const [oldest] = logins
      if (logins.size > maxPendingLogins && oldest !== undefined) {
        logins.delete(oldest)
        oldest.evict()
      }
      return () => void logins.delete(login)
    },
    get hasSeat() {
      return taken < maxConnections
    },
    takeSeat() {
      if (taken >= maxConnections) return undefined
      taken++
      let isTaken = true
      return () => {
        if (isTaken) taken--
        isTaken = false
      }
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

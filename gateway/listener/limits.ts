/** Limits of connections and of memory, for all clients of a gateway together. */

export interface Room {
  /**
   * Counts a connection among those that have not logged in. Where there are too many, the one that has been at it longest has to go:
   * silent connections, however many, then keep nobody out, since a login takes less time than the gateway needs to accept the
   * `maxPendingLogins` connections that would push it out.
   *
   * @param crowdOut ends the connection
   * @returns the function that takes it out
   */
  beginLogin(crowdOut: () => void): () => void
  /** Whether there is room for one more session. */
  readonly hasSeat: boolean
  /** Takes the place of a session. Returns the function that gives it back, or `undefined` where there is none. */
  takeSeat(): (() => void) | undefined
}

interface RoomLimits {
  maxConnections: number
  maxPendingLogins: number
}

export function createRoom({ maxConnections, maxPendingLogins }: RoomLimits): Room {
  // In the order in which they came.
  const logins = new Set<{ crowdOut: () => void }>()
  let taken = 0
  return {
    beginLogin(crowdOut) {
      const login = { crowdOut }
      logins.add(login)
      const [oldest] = logins
      if (logins.size > maxPendingLogins && oldest !== undefined) {
        logins.delete(oldest)
        oldest.crowdOut()
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

// How much memory there is, for all clients together, for messages that have not come whole or that the engine has not taken.

export interface BufferBudget {
  readonly maxBytes: number
  /** @param exceeded ends the client, when it holds most of what is too much */
  open(exceeded: () => void): BufferAccount
}

interface BufferAccount {
  /** Says how much the client holds now. */
  hold(bytes: number): void
  close(): void
}

/** Where it is exceeded, whoever holds most has to go: not one that sends a small message at the wrong moment. */
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

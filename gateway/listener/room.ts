/** How many connections there may be: in their login, and as sessions. */

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

export interface RoomLimits {
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

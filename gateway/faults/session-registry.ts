/** The sessions that are open, and what ends them. */
import { fatal } from '../auth/refusal.js'
import type { ServerError } from '../wire/server-error.js'

/** A session that is open. */
export interface GatewaySession {
  /**
   * As the client got it (`client.processID` in pg) and as SQL has it (`pg_backend_pid()`); on PGlite, where all sessions have one
   * backend, a number of the session's own.
   */
  readonly processId: number
  readonly role: string
  readonly database: string
  readonly applicationName: string | undefined
  /** Epoch milliseconds. */
  readonly openedAt: number
}

export interface SessionRegistry {
  /** Adds a session, which `terminate` ends with a last error to its client. Returns the function that takes it out. */
  add(
    session: Omit<GatewaySession, 'openedAt'>,
    terminate: (error: ServerError) => void,
  ): () => void
  list(): GatewaySession[]
  count(): number
  /** Ends the session with this process ID; all that have it, where the upstream is several servers. Returns whether there was one. */
  kill(processId: number): boolean
  /** Ends every session, those that are open and those to come, at this age; with `undefined` no more. */
  endAt(ageMs: number | undefined): void
}

export function createSessionRegistry(now: () => number): SessionRegistry {
  const sessions = new Set<Entry>()
  let ageLimitMs: number | undefined

  const expire = (entry: Entry): void => {
    clearTimeout(entry.timer)
    if (ageLimitMs === undefined) return
    const left = entry.session.openedAt + ageLimitMs - now()
    const end = (): void =>
      entry.terminate(
        fatal('57P01', 'terminating connection because it has reached its maximum duration'),
      )
    entry.timer = setTimeout(end, Math.max(0, left)).unref()
  }
  return {
    add(session, terminate) {
      const entry: Entry = { session: { ...session, openedAt: now() }, terminate }
      sessions.add(entry)
      expire(entry)
      return () => {
        clearTimeout(entry.timer)
        sessions.delete(entry)
      }
    },
    count: () => sessions.size,
    list: () => [...sessions].map(({ session }) => ({ ...session })),
    kill(processId) {
      const named = [...sessions].filter(({ session }) => session.processId === processId)
      for (const { terminate } of named)
        terminate(fatal('57P01', 'terminating connection due to administrator command'))
      return named.length > 0
    },
    endAt(ageMs) {
      ageLimitMs = ageMs
      for (const entry of sessions) expire(entry)
    },
  }
}

interface Entry {
  readonly session: GatewaySession
  readonly terminate: (error: ServerError) => void
  timer?: NodeJS.Timeout
}

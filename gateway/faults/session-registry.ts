/** The sessions that are open, and what ends them. */
import { fatal } from '../auth/refusal.js'
import type { ServerError } from '../wire/server-error.js'

/** A session that is open. */
export interface GatewaySession {
  /** As the client got it: `client.processID` in pg, `sql` state in Postgres.js. */
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
  kill(processId: number): boolean
  /** Ends every session, those that are open and those to come, at this age; with `undefined` no more. */
  endAt(ageMs: number | undefined): void
}

export function createSessionRegistry(now: () => number): SessionRegistry {
  const sessions = new Map<
    number,
    { session: GatewaySession; terminate: (error: ServerError) => void; timer?: NodeJS.Timeout }
  >()
  let ageLimitMs: number | undefined

  const expire = (processId: number): void => {
    const entry = sessions.get(processId)
    if (entry === undefined) return
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
      const { processId } = session
      sessions.set(processId, { session: { ...session, openedAt: now() }, terminate })
      expire(processId)
      return () => {
        clearTimeout(sessions.get(processId)?.timer)
        sessions.delete(processId)
      }
    },
    count: () => sessions.size,
    list: () => [...sessions.values()].map(({ session }) => ({ ...session })),
    kill(processId) {
      const entry = sessions.get(processId)
      entry?.terminate(fatal('57P01', 'terminating connection due to administrator command'))
      return entry !== undefined
    },
    endAt(ageMs) {
      ageLimitMs = ageMs
      for (const processId of sessions.keys()) expire(processId)
    },
  }
}

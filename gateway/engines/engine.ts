/** What stands behind the gateway: the one interface that every engine has. */
import type { Duplex } from 'node:stream'

/** An embedded or a real PostgreSQL, ready for sessions. */
export interface Engine {
  readonly name: 'pglite' | 'upstream'

  /** Begins what a session will need, for a client that has not logged in yet. It must not show in any session. */
  prepareSession(): PreparedSession

  /** Ends every session and releases every process, thread, socket and file. */
  close(): Promise<void>
}

export interface PreparedSession {
  /**
   * Opens the session, once, for a client whose login was accepted. Rejects with a `ServerError` when the engine refuses it (no such
   * database, too many sessions, engine lost), which the gateway then sends to the client.
   */
  open(request: SessionRequest): Promise<EngineSession>
  /** Leaves nothing of what was begun for a client that did not get to its session; a session that was opened stays. */
  abandon(): void
}

export interface SessionRequest {
  /** The role that the token was accepted for. */
  readonly role: string
  readonly database: string
  /** The other parameters of the client's startup packet, such as `application_name` or `options`. */
  readonly parameters: ReadonlyMap<string, string>
}

/**
 * One client's session as a byte stream with back-pressure.
 *
 * Writable side: whole frontend messages, already checked for structure; one chunk may hold several. It ends with a
 * `Terminate`, also when the client just disappears; the engine then rolls back and cleans up.
 *
 * Readable side: what follows `AuthenticationOk`, so `ParameterStatus` messages and a first `ReadyForQuery`, then the
 * replies. No `BackendKeyData`: the gateway has keys of its own. The side ends when the session does; a session that the
 * engine ends by itself sends a `FATAL` ErrorResponse first.
 */
export interface EngineSession extends Duplex {
  /** Cancels what the session is running, if it runs anything. Never throws; a cancel that comes too late does nothing. */
  cancel(): void
}

/** What stands behind the gateway: the one interface that every engine has. */
import type { Duplex } from 'node:stream'

/** An embedded or a real PostgreSQL, ready for sessions. */
export interface Engine {
  readonly name: 'pglite' | 'upstream'

  /**
   * Opens a session for a client whose login was accepted. Nothing is begun for a client before that. Rejects with a `ServerError` when
   * the engine refuses it (no such database, too many sessions, engine lost), which the gateway then sends to the client.
   */
  openSession(request: SessionRequest): Promise<EngineSession>

  /** Ends every session and releases every process, thread, socket and file. */
  close(): Promise<void>
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
 * `Terminate`, also when the client just disappears; the engine then rolls back and cleans up. Where the gateway destroys it, the
 * engine does the same without a `Terminate`.
 *
 * Readable side: what follows `AuthenticationOk`, so `ParameterStatus` messages and a first `ReadyForQuery`, then the
 * replies. No `BackendKeyData`: the gateway sends one with this process ID and a secret key of its own. The side ends when the session
 * does; a session that the engine ends by itself sends a `FATAL` ErrorResponse first.
 */
export interface EngineSession extends Duplex {
  /**
   * The process ID of the session's backend: what `pg_backend_pid()` returns in it, and what its notifications carry. Where one backend
   * serves all sessions, a number that no other open session has.
   */
  readonly processId: number
  /** Cancels what the session is running, if it runs anything. Never throws; a cancel that comes too late does nothing. */
  cancel(): void
}

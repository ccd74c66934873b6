/** The interface of engines, which serve the sessions of the gateway. */
import type { Duplex } from 'node:stream'

/** A database that accepts sessions: started by the gateway, an existing server, or a custom implementation. */
export interface Engine {
  /** `postgres`, `upstream`, `pglite`, or the name of a custom engine. It is the value of `gateway.engine`. */
  readonly name: string

  /**
   * Creates the roles that clients log in as, and the database, if they do not exist. The gateway calls it once, before it listens.
   * Optional: omit it if the roles are managed elsewhere. If it rejects, `startGateway` rejects.
   */
  prepare?(place: EnginePlace): Promise<void>

  /**
   * Opens a session for a client whose login was accepted. The gateway calls the engine for a client only then. Rejects if the engine
   * refuses the session (no such database, too many sessions, engine lost). If the error's `code` is an SQLSTATE, such as `53300`, the
   * client gets its `message`, `detail` and `hint`. Otherwise the client gets 58000 without the text of the error.
   */
  openSession(request: SessionRequest): Promise<EngineSession>

  /** Ends all sessions and releases all processes, threads, sockets and files. */
  close(): Promise<void>
}

/** The roles and the database of a gateway. */
export interface EnginePlace {
  /** The roles that may log in, including `admin`. */
  readonly roles: readonly string[]
  readonly database: string
}

export interface SessionRequest {
  /** The role that the login was accepted for. */
  readonly role: string
  readonly database: string
  /** The other parameters of the client's startup packet, such as `application_name` or `options`. */
  readonly parameters: ReadonlyMap<string, string>
}

/**
 * The session of one client as a byte stream with back-pressure.
 *
 * Writable side: whole frontend messages of valid structure; one chunk may contain several. The last message is a `Terminate`, also
 * if the client disconnected without one; the engine then rolls back and cleans up. If the gateway destroys the stream, the engine
 * does the same without a `Terminate`.
 *
 * Readable side: the messages after `AuthenticationOk`, which are `ParameterStatus` messages and the first `ReadyForQuery`, then the
 * replies. It contains no `BackendKeyData`: the gateway sends this process ID with its own secret key. The readable side ends with the
 * session. If the engine ends the session, it sends a `FATAL` ErrorResponse first.
 */
export interface EngineSession extends Duplex {
  /**
   * The process ID of the session's backend, as returned by `pg_backend_pid()` and contained in its notifications. If one backend
   * serves all sessions, a number that is unique among the open sessions.
   */
  readonly processId: number
  /** Cancels the running statement, if any. Never throws. */
  cancel(): void
}

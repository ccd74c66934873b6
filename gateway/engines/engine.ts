/** What serves the sessions behind the gateway: the one interface that every engine has. */
import type { Duplex } from 'node:stream'

/** A database that is ready for sessions: one that the gateway starts, one that runs elsewhere, or one of your own. */
export interface Engine {
  /** `postgres`, `upstream`, `pglite`, or the name of your own. The gateway shows it as `gateway.engine`. */
  readonly name: string

  /**
   * Makes the roles that clients log in as, and the database, where they do not exist. The gateway calls it once, before it listens.
   * Left out by an engine whose roles are somebody else's. A rejection ends the start of the gateway.
   */
  prepare?(place: EnginePlace): Promise<void>

  /**
   * Opens a session for a client whose login was accepted. Nothing is begun for a client before that. Rejects when the engine
   * refuses it (no such database, too many sessions, engine lost): the client gets the error's `message`, `detail` and `hint` where its
   * `code` is an SQLSTATE, such as `53300`, and otherwise 58000 without its text.
   */
  openSession(request: SessionRequest): Promise<EngineSession>

  /** Ends every session and releases every process, thread, socket and file. */
  close(): Promise<void>
}

/** The roles and the database of a gateway. */
export interface EnginePlace {
  /** The roles that may log in, `admin` among them. */
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

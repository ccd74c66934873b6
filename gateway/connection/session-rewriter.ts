/** What changes the messages between a client and its engine: faults, and the rules of an endpoint. */
import type { ServerError } from '../../wire/error-response.js'

/** Changes the messages between client and engine. Each session has its own rewriter. The gateway uses it to inject faults. */
export interface SessionRewriter {
  /**
   * Gets whole messages of the client, one or more, and returns those for the engine. `undefined` cuts the connection. What it throws ends
   * the session; the client gets a `ServerError`.
   */
  toEngine(messages: Buffer): Buffer | undefined
  /**
   * Gets the engine's bytes, not split at messages. Returns those for the client, and what happens after them. What it throws ends the
   * session.
   */
  toClient(chunk: Buffer): RewrittenReply
  /** The memory for messages of the client that the engine has not got yet. */
  readonly heldBytes?: number
  /** Calls back when the engine has got all messages of the client, for the end of the session. */
  whenIdle?(call: () => void): void
}

export interface RewrittenReply {
  readonly bytes: Buffer
  /** Whether the connection to the client is cut. */
  readonly isCut: boolean
  /** Messages for the engine. */
  readonly toEngine?: Buffer | undefined
}

/** Restrictions and defaults of the sessions of an endpoint. */
export interface SessionRules {
  /** Returns the startup parameters for the engine, or the error that refuses the login. */
  startup(parameters: ReadonlyMap<string, string>): ReadonlyMap<string, string> | ServerError
  /** Returns what changes the messages of a new session. */
  session(): SessionRewriter
}

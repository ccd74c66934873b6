/** How the stream of a connection is to behave towards its driver. */
import type { VerifiedTls } from '../tls/verified-tls.js'
import type { LastWords } from './last-words.js'

export interface LoginStreamOptions {
  /** Default: that of the login. */
  tls?: VerifiedTls
  /** Ends the connection once it is past its lifetime and idle. Default `false`: the pool does that. */
  retiresWhenIdle?: boolean
  /**
   * Where the server ends the connection the stream fails, of this error for what the server said last, which the driver does
   * not get to read then. Default: the driver reads it, and the stream just ends.
   */
  lossError?: (said: LastWords) => Error
  /**
   * Tells whether one of the first requests is one whose failure the client would not handle. The server's error is answered with
   * an empty result, and so is the loss of the connection, before it is told, where there is a `lossError`.
   */
  isUnattended?: (request: Buffer) => boolean
}

/** Says what PostgreSQL's errors mean to a client that does not know of the one connection behind it. */
import { parseErrorResponse } from '../../wire/error-fields.js'
import { errorResponse } from '../../wire/backend-messages.js'
import { ServerError } from '../../wire/server-error.js'
import type { CancelReason } from './watchdog.js'

export interface ErrorContext {
  /** Why the engine has cancelled the statement, if it has. */
  readonly cancelReason: CancelReason | undefined
  /** Gives a text the names of prepared statements that the client knows. */
  toClient(text: string): string
}

/** Takes an ErrorResponse and returns the one for the client, which mostly is the same. */
export function translateError(message: Buffer, context: ErrorContext): Buffer {
  const error = parseErrorResponse(message)
  const translated = translate(error, context)
  return translated === error ? message : errorResponse(translated)
}

function translate(error: ServerError, { cancelReason, toClient }: ErrorContext): ServerError {
  const { sqlState, message } = error
  switch (sqlState) {
    case '57014':
      if (cancelReason === 'full') return memoryFull()
      if (cancelReason !== 'timeout') return error
      return new ServerError(sqlState, 'canceling statement due to statement timeout')
    case '26000':
    case '42P05':
      return new ServerError(sqlState, toClient(message))
    case '22023':
      // The check that refuses it can only call the value invalid.
      if (!message.startsWith('invalid value for parameter "session_authorization"')) return error
      return new ServerError('42501', 'permission denied to set session authorization')
    case '42501':
      if (!SESSION_LOCK.test(message)) return error
      return new ServerError(
        '0A000',
        'advisory locks of a session are not supported by the PGlite engine',
        { hint: 'Use pg_advisory_xact_lock within a transaction.' },
      )
    default:
      return error
  }
}

function memoryFull(): ServerError {
  return new ServerError('53100', 'the database in memory has no more room', {
    hint: 'Give the engine a dataDirectory, or put the gateway in front of a real PostgreSQL.',
  })
}

const SESSION_LOCK = /^permission denied for function pg_(try_)?advisory_lock/

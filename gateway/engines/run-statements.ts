/** Runs SQL on a session of an engine, for what prepares a database. */
import { once } from 'node:events'
import { parseErrorResponse, type ServerError } from '../../wire/error-response.js'
import { createMessageReader } from '../../wire/framing.js'
import { BackendType, cString, encodeMessage, FrontendType } from '../../wire/messages.js'
import type { EngineSession } from './engine.js'

/** A statement that failed. */
export interface FailedStatement {
  /** From 0. */
  readonly index: number
  readonly error: ServerError
}

/**
 * Runs each statement in a transaction of its own, unless they begin one, and ends the session. Resolves with the first failure, after
 * which no more statements run. Rejects if the session is lost.
 */
export async function runStatements(
  session: EngineSession,
  statements: readonly string[],
): Promise<FailedStatement | undefined> {
  const replies = session[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
  const reader = createMessageReader(MAX_MESSAGE_BYTES)
  const untilReady = async (): Promise<ServerError | undefined> => {
    let error: ServerError | undefined
    for (;;) {
      const { value: chunk } = await replies.next()
      if (chunk === undefined) throw error ?? new Error('the session was lost')
      for (const { type, bytes } of reader.push(chunk)) {
        if (type === BackendType.errorResponse) error = parseErrorResponse(bytes)
        if (type === BackendType.readyForQuery) return error
      }
    }
  }
  try {
    await untilReady()
    for (const [index, sql] of statements.entries()) {
      session.write(encodeMessage(FrontendType.query, cString(sql)))
      const error = await untilReady()
      if (error !== undefined) return { index, error }
    }
    return undefined
  } finally {
    if (!session.destroyed) {
      session.end(encodeMessage(FrontendType.terminate))
      session.destroy()
      await once(session, 'close').catch(() => {})
    }
  }
}

const MAX_MESSAGE_BYTES = 0x3fffffff

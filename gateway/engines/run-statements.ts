/** Runs SQL on a session of an engine, for what prepares or examines a database. */
import { once } from 'node:events'
import { parseErrorResponse, type ServerError } from '../../wire/error-response.js'
import { createMessageReader } from '../../wire/framing.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  HEADER_BYTES,
} from '../../wire/messages.js'
import { readDataRow } from '../../wire/replies.js'
import type { EngineSession } from './engine.js'

/** What a query was answered with. */
export interface QueryOutcome {
  /** The rows of all its statements, as text. */
  readonly rows: readonly (readonly (string | null)[])[]
  /** The names of the columns of the last statement that has any. */
  readonly columns: readonly string[]
  readonly error: ServerError | undefined
}

export interface SessionRunner {
  /** Runs one query. Rejects if the session is lost. Calls must not overlap. */
  run(sql: string): Promise<QueryOutcome>
  /** Ends the session. */
  close(): Promise<void>
}

/** Takes over a session that was just opened. */
export async function sessionRunner(session: EngineSession): Promise<SessionRunner> {
  const replies = session[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
  const reader = createMessageReader(MAX_MESSAGE_BYTES)
  const untilReady = async (): Promise<QueryOutcome> => {
    let error: ServerError | undefined
    const rows: (string | null)[][] = []
    let columns: string[] = []
    for (;;) {
      const { value: chunk } = await replies.next()
      if (chunk === undefined) throw error ?? new Error('the session was lost')
      for (const { type, bytes } of reader.push(chunk)) {
        if (type === BackendType.errorResponse) error = parseErrorResponse(bytes)
        if (type === BackendType.rowDescription) columns = columnsOf(bytes)
        if (type === BackendType.dataRow)
          rows.push(readDataRow(bytes).map((value) => value?.toString() ?? null))
        if (type === BackendType.readyForQuery) return { rows, columns, error }
      }
    }
  }
  await untilReady()
  return {
    run(sql) {
      session.write(encodeMessage(FrontendType.query, cString(sql)))
      return untilReady()
    },
    async close() {
      if (session.destroyed) return
      session.end(encodeMessage(FrontendType.terminate))
      session.destroy()
      await once(session, 'close').catch(() => {})
    },
  }
}

/** The names in a RowDescription: each ends with a zero byte, and 18 bytes about the column. */
function columnsOf(message: Buffer): string[] {
  const names: string[] = []
  let start = HEADER_BYTES + 2
  for (let left = message.readInt16BE(HEADER_BYTES); left > 0; left--) {
    const end = message.indexOf(0, start)
    names.push(message.toString('utf8', start, end))
    start = end + 19
  }
  return names
}

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
  const runner = await sessionRunner(session)
  try {
    for (const [index, sql] of statements.entries()) {
      const { error } = await runner.run(sql)
      if (error !== undefined) return { index, error }
    }
    return undefined
  } finally {
    await runner.close()
  }
}

const MAX_MESSAGE_BYTES = 0x3fffffff

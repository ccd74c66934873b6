/** PGlite's backend, of which there is one, through PGlite's public methods alone. */
import { BackendType, cString, FrontendType, encodeMessage } from '../../../wire/messages.js'
import { createReplyTracker } from '../../../wire/framing.js'
import { ServerError } from '../../../wire/error-response.js'

export interface Backend {
  /**
   * Runs whole frontend messages, and resolves when all that they are answered with was given to `onReply`, in pieces that may end
   * anywhere. Takes one call at a time. Rejects with a FATAL `ServerError` when PGlite is lost.
   */
  run(messages: Buffer, onReply: (piece: Buffer) => void): Promise<void>
  /** Says that so many bytes of the reply were taken. PGlite waits while too many were not. */
  taken(bytes: number): void
}

/** What the engine uses of a PGlite. */
export interface PgliteLike {
  execProtocolRawStream(
    message: Uint8Array,
    options: { syncToFs?: boolean; onRawData: (data: Uint8Array) => void },
  ): Promise<void>
  runExclusive<T>(run: () => Promise<T>): Promise<T>
  exec(sql: string): Promise<unknown>
  isInTransaction?(): boolean
}

/**
 * The startup packet of the backend's one client. Only after it does PGlite report settings by ParameterStatus (0.5.14 to 0.5.17); the
 * names in it have no meaning.
 */
export const STARTUP_PACKET: Buffer = Buffer.from(
  '\0\0\0\u0029\0\u0003\0\0user\0postgres\0database\0postgres\0\0',
  'latin1',
)

/** A PGlite in this thread: nothing else runs while a statement does, and its whole reply is held. */
export function directBackend(db: PgliteLike): Backend {
  const run = createRunner(db)
  return {
    // PGlite's memory is in use again as soon as it has given a piece.
    run: (messages, onReply) => run(messages, (piece) => onReply(Buffer.from(piece))),
    taken() {},
  }
}

/**
 * Returns what runs messages on a PGlite, each in a call of its own, so that what it does not answer is seen. PGlite forgets a statement
 * that ends JavaScript's stack, and is of no more use then (0.5.14 to 0.5.17): the call rejects.
 */
export function createRunner(
  db: Pick<PgliteLike, 'execProtocolRawStream'>,
): (messages: Buffer, onReply: (piece: Uint8Array) => void) => Promise<void> {
  /** Whether PostgreSQL skips what comes up to the next Sync. */
  let isSkipping = false
  return async (messages, onReply) => {
    if (messages[0] === 0) return db.execProtocolRawStream(messages, { onRawData: onReply })
    const tracker = createReplyTracker()
    for (let start = 0, end = 0; start < messages.length; start = end) {
      const type = messages[start]!
      end = messageEnd(messages, start)
      // The data of a COPY goes with its query.
      while (end < messages.length && OF_COPY.has(messages[end]!)) end = messageEnd(messages, end)
      let last = 0
      await db.execProtocolRawStream(messages.subarray(start, end), {
        onRawData(piece) {
          tracker.push(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength))
          last = tracker.lastType
          onReply(piece)
        },
      })
      if (type === FrontendType.sync) isSkipping = false
      if (!isSkipping && UNFINISHED.get(type)?.(last) === true)
        throw new Error('a statement was not answered, which ends the stack of PGlite')
      if (last === BackendType.errorResponse) isSkipping = true
    }
  }
}

function messageEnd(messages: Buffer, start: number): number {
  return start + 1 + messages.readInt32BE(start + 1)
}

export const SYNC: Buffer = encodeMessage(FrontendType.sync)

/** Ends a batch, and undoes what was done in it. A Sync alone would commit that. */
export const ABORT_BATCH: Buffer = Buffer.concat([
  encodeMessage(FrontendType.parse, cString(''), cString('no statement'), Buffer.alloc(2)),
  SYNC,
])

export const OF_COPY: ReadonlySet<number> = new Set([
  ...[FrontendType.copyData, FrontendType.copyDone, FrontendType.copyFail],
])
/** Whether an answer has broken off, by what it ends with. */
const UNFINISHED: ReadonlyMap<number, (last: number) => boolean> = new Map([
  ...[FrontendType.parse, FrontendType.bind, FrontendType.describe].map(
    (type) => [type, (last: number) => last === 0] as const,
  ),
  [FrontendType.execute, (last) => last === 0 || ROWS.has(last)] as const,
  ...[FrontendType.query, FrontendType.sync, FrontendType.functionCall].map(
    (type) => [type, (last: number) => last !== BackendType.readyForQuery] as const,
  ),
])
const ROWS: ReadonlySet<number> = new Set(Buffer.from('DdH'))

export function engineLost(reason: string): ServerError {
  return new ServerError('57P01', `terminating connection because PGlite was ended: ${reason}`, {
    severity: 'FATAL',
    hint: 'Connect again: PGlite is started again.',
  })
}

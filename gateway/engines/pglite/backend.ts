/** The only backend of a PGlite, accessed with PGlite's public methods. */
import { BackendType, cString, FrontendType, encodeMessage } from '../../../wire/messages.js'
import { createReplyTracker } from '../../../wire/framing.js'
import { ServerError } from '../../../wire/error-response.js'

export interface Backend {
  /**
   * Runs whole frontend messages. Passes the replies to `onReply`, in pieces that may end within a message, and then resolves. Supports
   * one call at a time. Rejects with a FATAL `ServerError` if PGlite is lost.
   */
  run(messages: Buffer, onReply: (piece: Buffer) => void): Promise<void>
  /** Acknowledges bytes of the reply. PGlite pauses while too many bytes are unacknowledged. */
  taken(bytes: number): void
}

/** The methods of PGlite that the engine uses. */
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
 * The startup packet for the backend. PGlite (0.5.14 to 0.5.17) reports settings by ParameterStatus only after it. PGlite ignores the
 * user and the database in it.
 */
export const STARTUP_PACKET: Buffer = Buffer.from(
  '\0\0\0\u0029\0\u0003\0\0user\0postgres\0database\0postgres\0\0',
  'latin1',
)

/** A PGlite in this thread. A statement blocks the event loop, and its whole reply is buffered. */
export function directBackend(db: PgliteLike): Backend {
  const run = createRunner(db)
  return {
    // Copied, because PGlite reuses the memory of a piece after the callback.
    run: (messages, onReply) => run(messages, (piece) => onReply(Buffer.from(piece))),
    taken() {},
  }
}

/**
 * Returns a function that runs messages on a PGlite, each in a separate call, to detect a missing reply. PGlite (0.5.14 to 0.5.17) sends
 * no reply to a statement that overflows JavaScript's stack, and cannot be used afterwards. The function then rejects.
 */
export function createRunner(
  db: Pick<PgliteLike, 'execProtocolRawStream'>,
): (messages: Buffer, onReply: (piece: Uint8Array) => void) => Promise<void> {
  /** Whether PostgreSQL discards messages until the next Sync. */
  let isSkipping = false
  return async (messages, onReply) => {
    if (messages[0] === 0) return db.execProtocolRawStream(messages, { onRawData: onReply })
    const tracker = createReplyTracker()
    for (let start = 0, end = 0; start < messages.length; start = end) {
      const type = messages[start]!
      end = messageEnd(messages, start)
      // PGlite needs the data of a COPY in the same call as its query.
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
        throw new Error(
          'a statement got no complete reply, because it overflowed the stack of PGlite',
        )
      if (last === BackendType.errorResponse) isSkipping = true
    }
  }
}

function messageEnd(messages: Buffer, start: number): number {
  return start + 1 + messages.readInt32BE(start + 1)
}

export const SYNC: Buffer = encodeMessage(FrontendType.sync)

/** Ends a batch and rolls its implicit transaction back, by an error. A Sync alone would commit it. */
export const ABORT_BATCH: Buffer = Buffer.concat([
  encodeMessage(FrontendType.parse, cString(''), cString('no statement'), Buffer.alloc(2)),
  SYNC,
])

export const OF_COPY: ReadonlySet<number> = new Set([
  ...[FrontendType.copyData, FrontendType.copyDone, FrontendType.copyFail],
])
/** For each message type: whether a reply is incomplete, given its last message. */
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
  return new ServerError('57P01', `terminating connection because PGlite was stopped: ${reason}`, {
    severity: 'FATAL',
    hint: 'Reconnect. The gateway restarts PGlite.',
  })
}

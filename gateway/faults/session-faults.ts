/** The faults of one session: statements and commits that fail with a conflict, or cut the connection. */
import { errorResponse, ServerError } from '../../wire/error-response.js'
import { createReplyTracker } from '../../wire/framing.js'
import {
  HEADER_BYTES,
  BackendType,
  cString,
  FrontendType,
  encodeMessage,
} from '../../wire/messages.js'
import { ENDS_REQUEST } from '../../wire/frontend.js'
import { raising } from '../../core/sql.js'
import type { ConflictCode, CutStage } from './fault-options.js'
import type { SessionRewriter } from '../connection/session-rewriter.js'
import { createStatementWatch, type StatementKind } from './statement-kind.js'

/** Decides on each occasion whether a fault occurs. */
export interface FaultDecisions {
  /** Whether any fault for statements or commits is armed. */
  readonly isArmed: boolean
  cut(stage: CutStage): boolean
  conflict(at: 'commit' | 'statement'): ConflictCode | undefined
}

/**
 * Creates the faults of one session, before its first message. While no fault is armed, messages pass unchanged. Only the SQL of prepared
 * statements is analysed, because a fault that is armed later may apply to them.
 *
 * A COMMIT with a conflict is replaced by a ROLLBACK, whose reply is replaced by the error. So the session is outside of a transaction, as
 * after a failed COMMIT. A statement with a conflict is replaced by a statement that raises the error in the engine.
 */
export function createSessionFaults(decisions: FaultDecisions): SessionRewriter {
  const tracker = createReplyTracker()
  const watch = createStatementWatch()
  // The number of expected ReadyForQuery messages. The first one follows the startup packet.
  let requests = 1
  /** The number of ReadyForQuery messages for requests that the client did not send. */
  let surplus = 0
  let rewriter: ReplyRewriter | undefined
  /** The replacement for the rest of an extended-protocol request, from the message with a fault to its Sync. */
  let atSync: Buffer | undefined

  const decide = (kind: StatementKind): Fault | undefined => {
    if (!decisions.isArmed) return undefined
    if (tracker.atBoundary) rewriter ??= createReplyRewriter(tracker.readyCount - surplus)
    return rewriter === undefined ? undefined : faultFor(kind, decisions)
  }
  const replace = (type: number, kind: StatementKind, code: ConflictCode): Buffer => {
    const isExtended = type === FrontendType.execute
    rewriter?.add({
      request: requests,
      readyCount: isExtended ? 2 : 1,
      judge: conflictJudge(kind, code, isExtended),
    })
    const instead = query(kind === 'commit' ? 'ROLLBACK' : raising(conflictError(code)))
    if (!isExtended) return instead
    surplus++
    // The engine runs no further message of this request. The replacement is a separate request after the client's Sync.
    atSync = Buffer.concat([encodeMessage(FrontendType.sync), instead])
    return NOTHING
  }
  const pass = (type: number, bytes: Buffer): Buffer | undefined => {
    if (atSync !== undefined) {
      if (type !== FrontendType.sync) return NOTHING
      const instead = atSync
      atSync = undefined
      return instead
    }
    const kind = watch.kindOf(type, bytes)
    const fault = kind === undefined ? undefined : decide(kind)
    if (kind === undefined || fault === undefined) return bytes
    if (fault.cut === 'now') return undefined
    if (fault.cut === 'later') {
      rewriter?.add({ request: requests, readyCount: 1, judge: cutAtCompletion })
      return bytes
    }
    return replace(type, kind, fault.conflict)
  }

  return {
    toEngine(messages) {
      /** The messages so far, once one of them differs from the input. */
      let changed: Buffer[] | undefined
      const passesAll = !decisions.isArmed && atSync === undefined
      for (let start = 0, end = 0; start < messages.length; start = end) {
        const type = messages[start]!
        end = start + 1 + messages.readInt32BE(start + 1)
        if (PREPARES.has(type) && atSync === undefined)
          watch.see(type, messages.subarray(start, end))
        if (!passesAll) {
          const bytes = messages.subarray(start, end)
          const passed = pass(type, bytes)
          if (passed === undefined) return undefined
          if (passed !== bytes) changed ??= [messages.subarray(0, start)]
          changed?.push(passed)
        }
        if (ENDS_REQUEST.has(type)) requests++
      }
      return changed === undefined ? messages : Buffer.concat(changed)
    },
    toClient(chunk) {
      tracker.push(chunk)
      if (rewriter === undefined) return { bytes: chunk, isCut: false }
      const rewritten = rewriter.push(chunk)
      if (!decisions.isArmed && rewriter.isIdle && tracker.atBoundary) rewriter = undefined
      return rewritten
    },
  }
}

type Fault = { cut: 'now' } | { cut: 'later' } | { cut: undefined; conflict: ConflictCode }

function faultFor(kind: StatementKind, decisions: FaultDecisions): Fault | undefined {
  if (kind === 'control') return undefined
  if (decisions.cut(kind === 'commit' ? 'before-commit' : 'statement')) return { cut: 'now' }
  if (kind === 'commit' && decisions.cut('after-commit')) return { cut: 'later' }
  const conflict = decisions.conflict(kind)
  return conflict === undefined ? undefined : { cut: undefined, conflict }
}

/** An extended-protocol request gets two ReadyForQuery messages. The first one, for the client's Sync, is dropped. */
function conflictJudge(
  kind: StatementKind,
  code: ConflictCode,
  isExtended: boolean,
): Rewrite['judge'] {
  let isInstead = !isExtended
  return (type) => {
    if (!isInstead) {
      isInstead = type === BackendType.readyForQuery
      return isInstead ? NOTHING : 'keep'
    }
    if (kind !== 'commit') return 'keep'
    // Drops PostgreSQL's warning that there is no transaction in progress.
    if (type === BackendType.noticeResponse) return NOTHING
    return type === BackendType.commandComplete ? errorResponse(conflictError(code)) : 'keep'
  }
}

const cutAtCompletion: Rewrite['judge'] = (type) =>
  type === BackendType.commandComplete ? 'cut' : 'keep'

const PREPARES: ReadonlySet<number> = new Set([FrontendType.parse, FrontendType.bind])
const NOTHING = Buffer.alloc(0)

function query(sql: string): Buffer {
  return encodeMessage(FrontendType.query, cString(sql))
}

// Rewrites the replies to certain requests of a session, and passes all others through.

/** What to do with one reply: keep it, replace it (an empty buffer drops it), or cut the connection before it. */
type Verdict = 'keep' | 'cut' | Buffer

interface Rewrite {
  /** The index of the request, counted by ReadyForQuery messages, from 0. */
  request: number
  /** The number of ReadyForQuery messages that the engine sends for it. */
  readyCount: number
  /** Decides what to do with the next reply, by its type. */
  judge: (type: number) => Verdict
}

interface ReplyRewriter {
  add(rewrite: Rewrite): void
  /** @returns the bytes for the client, and whether to cut the connection after them */
  push(chunk: Buffer): { bytes: Buffer; isCut: boolean }
  readonly isIdle: boolean
}

/**
 * Must be created while the replies are at a message boundary. `answered` is the number of requests that are answered by then. It buffers
 * only the header of a reply, because a row can be as long as 1 GB.
 */
function createReplyRewriter(answered: number): ReplyRewriter {
  const rewrites: Rewrite[] = []
  let request = answered
  let readyInRequest = 0
  let header = NO_BYTES
  /** The remaining body bytes of the current reply. */
  let bodyLeft = 0
  let isKept = true

  const countReady = (): void => {
    const [rewrite] = rewrites
    const isRewritten = rewrite !== undefined && rewrite.request === request
    readyInRequest++
    if (readyInRequest < (isRewritten ? rewrite.readyCount : 1)) return
    readyInRequest = 0
    request++
    if (isRewritten) rewrites.shift()
  }
  const judge = (type: number): Verdict => {
    const [rewrite] = rewrites
    return rewrite !== undefined && rewrite.request === request ? rewrite.judge(type) : 'keep'
  }
  return {
    add: (rewrite) => void rewrites.push(rewrite),
    push(chunk) {
      const out: Buffer[] = []
      let offset = 0
      while (offset < chunk.length) {
        if (bodyLeft > 0) {
          const end = Math.min(offset + bodyLeft, chunk.length)
          if (isKept) out.push(chunk.subarray(offset, end))
          bodyLeft -= end - offset
          offset = end
          continue
        }
        const end = offset + HEADER_BYTES - header.length
        header = Buffer.concat([header, chunk.subarray(offset, end)])
        offset = end
        if (header.length < HEADER_BYTES) break
        const verdict = judge(header[0]!)
        if (verdict === 'cut') return { bytes: Buffer.concat(out), isCut: true }
        isKept = verdict === 'keep'
        out.push(verdict === 'keep' ? header : verdict)
        bodyLeft = header.readInt32BE(1) - (HEADER_BYTES - 1)
        // Only the header is needed: the body is the transaction status.
        if (header[0] === BackendType.readyForQuery) countReady()
        header = NO_BYTES
      }
      return { bytes: Buffer.concat(out), isCut: false }
    },
    get isIdle() {
      return rewrites.length === 0
    },
  }
}

const NO_BYTES: Buffer = Buffer.alloc(0)

// The conflicts of Aurora DSQL.

/**
 * All conflicts have SQLSTATE 40001. The kind is in the text.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-concurrency-control.html
 */
export function conflictError(code: ConflictCode): ServerError {
  return new ServerError('40001', TEXTS[code])
}

const TEXTS = {
  OC000: 'change conflicts with another transaction (OC000)',
  OC001: 'schema has been updated by another transaction (OC001)',
} as const

/** The faults of one session: statements and commits that meet a conflict, or that the connection does not survive. */
import { errorResponse, ServerError } from '../../wire/error-response.js'
import type { ReplyTracker } from '../../wire/framing.js'
import {
  HEADER_BYTES,
  BackendType,
  cString,
  FrontendType,
  encodeMessage,
} from '../../wire/messages.js'
import { raising } from '../sql.js'
import type { ConflictCode, CutStage } from './fault-options.js'
import { createStatementWatch, type StatementKind } from './statement-kind.js'

/** Decides, at each occasion, whether a fault happens. */
export interface FaultDecisions {
  /** Whether any fault of statements or commits is armed. */
  readonly isArmed: boolean
  cut(stage: CutStage): boolean
  conflict(at: 'commit' | 'statement'): ConflictCode | undefined
}

interface SessionFaults {
  /**
   * @param messages whole ones
   * @returns what the engine gets, or `undefined` where the connection is to be cut at once
   */
  fromClient(messages: Buffer): Buffer | undefined
  /** @returns what the client gets; with `isCut`, the last that it gets */
  fromEngine(chunk: Buffer): { bytes: Buffer; isCut: boolean }
  /** Whether the engine has not answered all that it was asked. */
  readonly isAsked: boolean
}

/**
 * Creates the faults of one session, before its first message. While none is armed, messages pass untouched, and of their
 * SQL only that of prepared statements is looked at, which a fault that is armed later may meet.
 *
 * A conflict at COMMIT makes a ROLLBACK of it, whose answer becomes the error, so that the session is as after a COMMIT that
 * failed: outside of a transaction. A conflict at a statement has the engine itself raise the error in its place.
 *
 * @param tracker has seen every chunk of replies before it comes here
 */
export function createSessionFaults(
  decisions: FaultDecisions,
  tracker: ReplyTracker,
): SessionFaults {
  const watch = createStatementWatch()
  // Requests are counted by the ReadyForQuery that answers them; the first one answers the startup packet.
  let requests = 1
  /** ReadyForQuery messages of the engine to requests that no client made. */
  let surplus = 0
  let rewriter: ReplyRewriter | undefined
  /** What takes the place of the rest of an extended request, from the message on that met a fault. */
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
    // The engine runs nothing more of this request: the replacement comes as one of its own, behind the client's Sync.
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
    get isAsked() {
      return requests > tracker.readyCount - surplus
    },
    fromClient(messages) {
      /** What has been passed so far, once that is not what came. */
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
    fromEngine(chunk) {
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

/** Of the two ReadyForQuery of an extended request, the first answers the client's own Sync and is kept from it. */
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
    // ROLLBACK may warn that there is no transaction.
    if (type === BackendType.noticeResponse) return NOTHING
    return type === BackendType.commandComplete ? errorResponse(conflictError(code)) : 'keep'
  }
}

const cutAtCompletion: Rewrite['judge'] = (type) =>
  type === BackendType.commandComplete ? 'cut' : 'keep'

const ENDS_REQUEST: ReadonlySet<number> = new Set([
  FrontendType.query,
  FrontendType.sync,
  FrontendType.functionCall,
])
const PREPARES: ReadonlySet<number> = new Set([FrontendType.parse, FrontendType.bind])
const NOTHING = Buffer.alloc(0)

function query(sql: string): Buffer {
  return encodeMessage(FrontendType.query, cString(sql))
}

// Changes the replies to single requests of a session, and leaves all others as they are.

/** What becomes of one reply: sent on, replaced (by nothing, where the buffer is empty), or the end of the connection. */
type Verdict = 'keep' | 'cut' | Buffer

interface Rewrite {
  /** The number of the request, counted by the ReadyForQuery messages that answer them, from 0. */
  request: number
  /** How many ReadyForQuery messages the engine gives for it. */
  readyCount: number
  /** Says what becomes of the next reply, by its type. */
  judge: (type: number) => Verdict
}

interface ReplyRewriter {
  add(rewrite: Rewrite): void
  /** @returns what goes to the client, or `cut` behind it */
  push(chunk: Buffer): { bytes: Buffer; isCut: boolean }
  readonly isIdle: boolean
}

/**
 * Must be created where the replies are between two messages. `answered` is how many requests were answered by then. It holds back no
 * more of a reply than its header: a row can be as long as a gigabyte.
 */
function createReplyRewriter(answered: number): ReplyRewriter {
  const rewrites: Rewrite[] = []
  let request = answered
  let readyInRequest = 0
  let header = NO_BYTES
  /** Of the reply that has begun. */
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
        // Its body of one byte does not matter here.
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
 * SQLSTATE 40001 for all of them; the kind is in the text.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-concurrency-control.html
 */
function conflictError(code: ConflictCode): ServerError {
  return new ServerError('40001', TEXTS[code])
}

const TEXTS = {
  OC000: 'change conflicts with another transaction (OC000)',
  OC001: 'schema has been updated by another transaction, please retry: (OC001)',
} as const

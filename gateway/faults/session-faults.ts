/** The faults of one session: statements and commits that meet a conflict, or that the connection does not survive. */
import { cString, errorResponse, message } from '../wire/backend-messages.js'
import { raising } from '../sql/sql-text.js'
import { BackendType, FrontendType } from '../wire/message-types.js'
import type { ReplyTracker } from '../wire/reply-tracker.js'
import { conflictError } from './conflict-error.js'
import type { ConflictCode, CutStage } from './fault-options.js'
import { createReplyRewriter, type ReplyRewriter, type Rewrite } from './reply-rewriter.js'
import { createStatementWatch, type StatementKind } from './statement-kind.js'

/** Decides, at each occasion, whether a fault happens. */
export interface FaultDecisions {
  /** Whether any fault of statements or commits is armed. */
  readonly isArmed: boolean
  cut(stage: CutStage): boolean
  conflict(at: 'commit' | 'statement'): ConflictCode | undefined
}

export interface SessionFaults {
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
    atSync = Buffer.concat([message(FrontendType.sync), instead])
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
  return message(FrontendType.query, cString(sql))
}

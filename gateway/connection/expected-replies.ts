/** Which replies a server still owes, by the messages that it got. */
import { ENDS_REQUEST } from '../../wire/frontend.js'
import { BackendType, FrontendType } from '../../wire/messages.js'

export interface ExpectedReplies {
  /** Notes a message of the client. */
  add(type: number): void
  /** Notes that a reply of this type has begun. */
  take(type: number): void
  /** Whether nothing is owed. The first ReadyForQuery follows the startup packet. */
  readonly isIdle: boolean
  /** Whether the last message ends its request, so that the server sends all replies. */
  readonly endsRequest: boolean
  /** Whether the server ignores messages up to the next Sync, because one since the last Sync has failed. */
  readonly hasFailed: boolean
  /** Whether the server reads the data of a COPY. */
  readonly isCopying: boolean
}

export function createExpectedReplies(): ExpectedReplies {
  /** The types of the messages that are not answered yet, from `first` on. */
  let owed: number[] = [FrontendType.sync]
  let first = 0
  let hasFailed = false
  /** The server reads the data of a COPY, and ignores every Sync before its end. */
  let isCopying = false

  const isOwed = (): boolean => first < owed.length
  const drop = (): void => {
    first++
    if (first === owed.length) {
      owed.length = 0
      first = 0
    } else if (first > MAX_DROPPED && 2 * first > owed.length) {
      owed = owed.slice(first)
      first = 0
    }
  }
  const dropIf = (type: number): void => {
    if (owed[first] === type) drop()
  }
  const dropUntil = (isEnd: (type: number) => boolean): void => {
    while (isOwed() && !isEnd(owed[first]!)) drop()
  }
  const startCopy = (): void => {
    // The messages that were sent in the belief that the server has answered: their Syncs are ignored, up to the end of the COPY.
    const end = owed.findIndex((type, index) => index > first && ENDS_COPY.has(type))
    isCopying = end === -1
    const data = owed.slice(first, isCopying ? owed.length : end)
    const later = isCopying ? [] : owed.slice(end + 1)
    owed = data.filter((type) => type !== FrontendType.sync).concat(later)
    first = 0
  }
  return {
    add(type) {
      if (ENDS_COPY.has(type)) {
        // It belongs to a COPY that has begun, or may still begin.
        if (!isCopying && isOwed()) owed.push(type)
        isCopying = false
      } else if (type === FrontendType.sync) {
        if (isCopying) return
        hasFailed = false
        owed.push(type)
      } else if (ANSWERED.has(type) && !hasFailed) owed.push(type)
    },
    take(type) {
      switch (type) {
        case BackendType.readyForQuery:
          isCopying = false
          dropUntil((each) => ENDS_REQUEST.has(each))
          drop()
          break
        case BackendType.errorResponse:
          isCopying = false
          if (!isOwed() || ENDS_REQUEST.has(owed[first]!)) break
          dropUntil((each) => each === FrontendType.sync)
          hasFailed = !isOwed()
          break
        case BackendType.parseComplete:
          dropIf(FrontendType.parse)
          break
        case BackendType.bindComplete:
          dropIf(FrontendType.bind)
          break
        case BackendType.closeComplete:
          dropIf(FrontendType.close)
          break
        case BackendType.noData:
        case BackendType.rowDescription:
          dropIf(FrontendType.describe)
          break
        case BackendType.commandComplete:
        case BackendType.emptyQueryResponse:
        case BackendType.portalSuspended:
          dropIf(FrontendType.execute)
          break
        case BackendType.copyInResponse:
        case BackendType.copyBothResponse:
          startCopy()
          break
        default:
          return
      }
      // The ends of COPYs that never began.
      dropUntil((each) => !ENDS_COPY.has(each))
    },
    get isIdle() {
      return !isOwed()
    },
    get endsRequest() {
      return ENDS_REQUEST.has(owed.at(-1)!)
    },
    get hasFailed() {
      return hasFailed
    },
    get isCopying() {
      return isCopying
    },
  }
}

/** The number of answered messages that are kept, because a copy of the rest costs time. */
const MAX_DROPPED = 1_000

const ENDS_COPY: ReadonlySet<number> = new Set([FrontendType.copyDone, FrontendType.copyFail])

const ANSWERED: ReadonlySet<number> = new Set([
  FrontendType.query,
  FrontendType.functionCall,
  FrontendType.parse,
  FrontendType.bind,
  FrontendType.close,
  FrontendType.describe,
  FrontendType.execute,
])

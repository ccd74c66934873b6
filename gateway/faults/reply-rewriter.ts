/** Changes the replies to single requests of a session, and leaves all others as they are. */
import { BackendType } from '../wire/message-types.js'

/** What becomes of one reply: sent on, replaced (by nothing, where the buffer is empty), or the end of the connection. */
export type Verdict = 'keep' | 'cut' | Buffer

export interface Rewrite {
  /** The number of the request, counted by the ReadyForQuery messages that answer them, from 0. */
  request: number
  /** How many ReadyForQuery messages the engine gives for it. */
  readyCount: number
  /** Says what becomes of the next reply, by its type. */
  judge: (type: number) => Verdict
}

export interface ReplyRewriter {
  add(rewrite: Rewrite): void
  /** @returns what goes to the client, or `cut` behind it */
  push(chunk: Buffer): { bytes: Buffer; isCut: boolean }
  readonly isIdle: boolean
}

/**
 * Must be created where the replies are between two messages. `answered` is how many requests were answered by then. It holds back no
 * more of a reply than its header: a row can be as long as a gigabyte.
 */
export function createReplyRewriter(answered: number): ReplyRewriter {
  const rewrites: Rewrite[] = []
  let request = answered
  let readyInRequest = 0
  let header = NOTHING
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
        header = NOTHING
      }
      return { bytes: Buffer.concat(out), isCut: false }
    },
    get isIdle() {
      return rewrites.length === 0
    },
  }
}

const NOTHING: Buffer = Buffer.alloc(0)
/** Type byte and length. */
const HEADER_BYTES = 5

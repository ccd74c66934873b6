/** Changes the replies to single requests of a session, and leaves all others as they are. */
import { createMessageReader, type MessageReader } from '../../core/wire/message-reader.js'
import { BackendType } from '../wire/message-types.js'

/** What becomes of one reply: sent on, replaced (by nothing, where the buffer is empty), or the end of the connection. */
export type Verdict = 'keep' | 'cut' | Buffer

export interface Rewrite {
  /** The number of the request, counted by the ReadyForQuery messages that answer them, from 0. */
  request: number
  /** How many ReadyForQuery messages the engine gives for it. */
  readyCount: number
  judge: (type: number, bytes: Buffer) => Verdict
}

export interface ReplyRewriter {
  add(rewrite: Rewrite): void
  /** @returns what goes to the client, or `cut` behind it */
  push(chunk: Buffer): { bytes: Buffer; isCut: boolean }
  readonly isIdle: boolean
}

/** Must be created where the replies are between two messages. `answered` is how many requests were answered by then. */
export function createReplyRewriter(answered: number): ReplyRewriter {
  const reader: MessageReader = createMessageReader(MAX_MESSAGE_BYTES)
  const rewrites: Rewrite[] = []
  let request = answered
  let readyInRequest = 0
  return {
    add: (rewrite) => void rewrites.push(rewrite),
    push(chunk) {
      const out: Buffer[] = []
      for (const { type, bytes } of reader.push(chunk)) {
        const [rewrite] = rewrites
        const isRewritten = rewrite !== undefined && rewrite.request === request
        const verdict = isRewritten ? rewrite.judge(type, bytes) : 'keep'
        if (verdict === 'cut') return { bytes: Buffer.concat(out), isCut: true }
        out.push(verdict === 'keep' ? Buffer.from(bytes) : verdict)
        if (type !== BackendType.readyForQuery) continue
        readyInRequest++
        if (readyInRequest < (isRewritten ? rewrite.readyCount : 1)) continue
        readyInRequest = 0
        request++
        if (isRewritten) rewrites.shift()
      }
      return { bytes: out.length === 1 ? out[0]! : Buffer.concat(out), isCut: false }
    },
    get isIdle() {
      return rewrites.length === 0
    },
  }
}

const MAX_MESSAGE_BYTES = 0x3fff_ffff

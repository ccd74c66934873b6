/** Lets an engine's replies through, except for the messages that somebody wants to see. */
import { HEADER_BYTES } from '../../../core/wire/message-reader.js'

/** Takes a whole message. Returns what to send instead, or nothing to leave it out. */
export type ReplyHandler = (message: Buffer) => Buffer | undefined

export interface ReplyFilter {
  /** Takes what the engine wrote, which may end anywhere, and returns what is to be sent. */
  push(chunk: Buffer): Buffer[]
  /** Whether what was sent ends with a whole message. */
  readonly atBoundary: boolean
}

/** @param handlers by type byte. Only messages with one are collected before they go on; rows just pass. */
export function createReplyFilter(handlers: ReadonlyMap<number, ReplyHandler>): ReplyFilter {
  /** What has come of a header, or of a message that has a handler. */
  let collected: Buffer[] = []
  let collectedBytes = 0
  let passingBytes = 0

  return {
    push(chunk) {
      let bytes = chunk
      if (collectedBytes > 0) {
        collected.push(chunk)
        collectedBytes += chunk.length
        if (collectedBytes < neededBytes(collected)) return []
        bytes = Buffer.concat(collected, collectedBytes)
        collected = []
        collectedBytes = 0
      }
      const sent: Buffer[] = []
      let offset = Math.min(passingBytes, bytes.length)
      passingBytes -= offset
      let unsent = 0
      const send = (end: number): void => {
        if (end > unsent) sent.push(bytes.subarray(unsent, end))
      }
      while (offset < bytes.length) {
        const end = offset + messageBytes(bytes, offset)
        const handler = handlers.get(bytes[offset]!)
        const isShort = bytes.length - offset < HEADER_BYTES
        if (isShort || (handler !== undefined && end > bytes.length)) {
          send(offset)
          collected = [bytes.subarray(offset)]
          collectedBytes = bytes.length - offset
          return sent
        }
        if (handler !== undefined) {
          send(offset)
          const instead = handler(bytes.subarray(offset, end))
          if (instead !== undefined) sent.push(instead)
          unsent = end
        } else if (end > bytes.length) {
          passingBytes = end - bytes.length
        }
        offset = end
      }
      send(bytes.length)
      return sent
    },
    get atBoundary() {
      return passingBytes === 0
    },
  }
}

function messageBytes(bytes: Buffer, offset: number): number {
  return bytes.length - offset < HEADER_BYTES ? HEADER_BYTES : 1 + bytes.readInt32BE(offset + 1)
}

/** Joining only when the message is whole keeps a large one from being copied with each piece of it. */
function neededBytes(collected: readonly Buffer[]): number {
  const [first] = collected
  const header = first!.length < HEADER_BYTES ? Buffer.concat(collected) : first!
  return messageBytes(header, 0)
}

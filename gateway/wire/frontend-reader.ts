/** Cuts what a client sends after its login into whole messages, each checked before anything is done with it. */
import { PgIamError } from '../../core/errors.js'
import { structuralFault } from './frontend-structure.js'
import { FrontendType } from './message-types.js'

export interface FrontendReader {
  /**
   * Takes what the network gave. Returns the bytes of the messages that it completed, several of them in one buffer, or
   * `undefined` where none is complete. After a Terminate nothing more is returned.
   *
   * Throws `ERR_GATEWAY_PROTOCOL` for whatever is not the PostgreSQL protocol; the reader is unusable after it.
   */
  push(chunk: Buffer): Buffer | undefined
  /** Whether the client has said that it is done. */
  readonly terminated: boolean
}

/** As PostgreSQL limits messages that hold a query or data: one byte below its largest allocation. */
export const MAX_MESSAGE_BYTES = 0x3fff_ffff

/** @param maxMessageBytes the limit for messages that hold a query or data; all others may have 10,000 bytes */
export function createFrontendReader(maxMessageBytes: number = MAX_MESSAGE_BYTES): FrontendReader {
  let pending: Buffer[] = []
  let pendingBytes = 0
  /** How many bytes there must be before looking again is worth it. */
  let needed = HEADER_BYTES
  let terminated = false

  return {
    get terminated() {
      return terminated
    },
    push(chunk) {
      if (terminated) return undefined
      pending.push(chunk)
      pendingBytes += chunk.length
      // A message of 100 MB comes in thousands of chunks: they are joined once, and never before the message is whole.
      if (pendingBytes < needed) return undefined
      const bytes = pending.length === 1 ? chunk : Buffer.concat(pending, pendingBytes)
      let offset = 0
      needed = HEADER_BYTES
      while (bytes.length - offset >= HEADER_BYTES) {
        const length = messageLength(bytes, offset, maxMessageBytes)
        if (bytes.length - offset < length) {
          needed = length
          break
        }
        const fault = structuralFault(bytes, offset, offset + length)
        if (fault !== undefined) throw violation(fault)
        if (bytes[offset] === FrontendType.terminate) {
          terminated = true
          break
        }
        offset += length
      }
      pendingBytes = terminated ? 0 : bytes.length - offset
      pending = pendingBytes === 0 ? [] : [bytes.subarray(offset)]
      if (offset === 0) return undefined
      return offset === bytes.length ? bytes : bytes.subarray(0, offset)
    },
  }
}

const HEADER_BYTES = 5
const MAX_SMALL_MESSAGE_BYTES = 10_000

/** The types that PostgreSQL allows to be large. The type is checked here already: a wrong one may announce any length. */
const LARGE = new Set<number>([
  FrontendType.query,
  FrontendType.parse,
  FrontendType.bind,
  FrontendType.copyData,
  FrontendType.functionCall,
])
const KNOWN = new Set<number>(Object.values(FrontendType))

function messageLength(bytes: Buffer, offset: number, maxMessageBytes: number): number {
  const type = bytes[offset]!
  if (!KNOWN.has(type)) throw violation(`invalid frontend message type ${type}`)
  const length = bytes.readInt32BE(offset + 1) + 1
  const most = LARGE.has(type) ? maxMessageBytes : MAX_SMALL_MESSAGE_BYTES
  if (length < HEADER_BYTES || length > most)
    throw violation(`invalid message length ${length - 1}`)
  return length
}

function violation(message: string): PgIamError {
  return new PgIamError('ERR_GATEWAY_PROTOCOL', message)
}

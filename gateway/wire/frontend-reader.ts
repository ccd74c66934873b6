/** Cuts what a client sends after its login into whole messages, each checked before anything is done with it. */
import { PgIamError } from '../../core/errors.js'
import { structuralFault } from './frontend-structure.js'
import { FrontendType } from './message-types.js'
import { ServerError } from './server-error.js'

export interface FrontendReader {
  /**
   * Takes what the network gave. Returns the bytes of the messages that it completed, several of them in one buffer, or
   * `undefined` where none is complete. After a Terminate nothing more is returned.
   *
   * Throws `ERR_GATEWAY_PROTOCOL` for whatever is not the PostgreSQL protocol, and a `ServerError` for a message that is longer than
   * what may be held; the reader is unusable after it.
   */
  push(chunk: Buffer): Buffer | undefined
  /** Forgets the message that has not come whole, and all that still comes. */
  discard(): void
  /** How many bytes of memory hold a message that has not come whole. */
  readonly heldBytes: number
  /** Whether the client has said that it is done. */
  readonly terminated: boolean
}

/** As PostgreSQL limits messages that hold a query or data: one byte below its largest allocation. */
export const MAX_MESSAGE_BYTES = 0x3fff_ffff

/**
 * @param maxMessageBytes the protocol's limit for messages that hold a query or data; all others may have 10,000 bytes
 * @param maxBufferedBytes the option of this name, a limit for messages of all types
 */
export function createFrontendReader(
  maxMessageBytes: number = MAX_MESSAGE_BYTES,
  maxBufferedBytes: number = Infinity,
): FrontendReader {
  /** Begins with a message that has not come whole, and may have room for more of it. */
  let store: Buffer = NOTHING
  let stored = 0
  /** How many bytes there must be before looking again is worth it. */
  let needed = HEADER_BYTES
  let terminated = false

  // What comes is copied: a chunk of one byte costs a hundred, and the last byte of a large chunk would keep all of it. Room is doubled,
  // since a client that announces a gigabyte has not sent it.
  const keep = (bytes: Buffer): void => {
    const end = stored + bytes.length
    if (end > store.length) {
      const room = Math.min(needed, Math.max(2 * store.length, FIRST_ROOM_BYTES))
      const larger = Buffer.allocUnsafeSlow(Math.max(end, room))
      store.copy(larger, 0, 0, stored)
      store = larger
    }
    bytes.copy(store, stored)
    stored = end
  }
  const forget = (): void => {
    store = NOTHING
    stored = 0
  }

  return {
    get heldBytes() {
      return store.length
    },
    get terminated() {
      return terminated
    },
    discard() {
      terminated = true
      forget()
    },
    push(chunk) {
      if (terminated) return undefined
      let bytes = chunk
      if (stored > 0) {
        keep(chunk)
        if (stored < needed) return undefined
        bytes = store.subarray(0, stored)
        forget()
      }
      let offset = 0
      needed = HEADER_BYTES
      while (bytes.length - offset >= HEADER_BYTES) {
        const length = messageLength(bytes, offset, maxMessageBytes)
        if (length > maxBufferedBytes) throw tooLong(length, maxBufferedBytes)
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
      if (!terminated && offset < bytes.length) keep(bytes.subarray(offset))
      if (offset === 0) return undefined
      return offset === bytes.length ? bytes : bytes.subarray(0, offset)
    },
  }
}

const NOTHING: Buffer = Buffer.alloc(0)
/** What two reads of a socket bring. */
const FIRST_ROOM_BYTES = 131_072
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

function tooLong(length: number, most: number): ServerError {
  return new ServerError(
    '54000',
    `a message of ${length} bytes is longer than "maxBufferedBytes"`,
    {
      severity: 'FATAL',
      detail: `The gateway holds messages of ${most} bytes at the most, until they have come whole.`,
      hint: 'Raise the option "maxBufferedBytes" of the gateway, or send the data in smaller parts, with COPY for example.',
    },
  )
}

function violation(message: string): PgIamError {
  return new PgIamError('ERR_GATEWAY_PROTOCOL', message)
}

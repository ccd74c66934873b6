/** What a driver gets to read of what its server sends. */
import { createMessageWalk } from '../wire/message-walk.js'
import {
  READY_FOR_QUERY_FAILED,
  READY_FOR_QUERY_IDLE,
  READY_FOR_QUERY_IN_TRANSACTION,
} from '../wire/ready-for-query.js'
import { createLastWordsListener, type LastWords } from './last-words.js'
import { createUnattendedReply, type UnattendedReply } from './unattended-reply.js'

export interface ReceptionOptions {
  /** Whether the last words of the server are kept from the driver. */
  hidesLastWords: boolean
  /**
   * Tells whether these bytes are a request that the client makes by itself, and whose failure it does not handle. It is asked
   * about the first requests of a connection.
   */
  isUnattended: ((request: Buffer) => boolean) | undefined
}

export interface Reception {
  /** Looks at what the driver sends. */
  sent(bytes: Buffer): void
  /** Returns what the driver may read now. */
  received(chunk: Buffer): Buffer
  /** Returns what the driver must read before it hears that the connection is lost. */
  lost(): Buffer
  /**
   * Whether the driver, where it hides the last words, may be about to go on after the last answer: by promises, which come
   * to pass behind the events of the stream.
   */
  readonly isGoingOn: boolean
  /** The last words of the server, once they were heard. */
  readonly lastWords: LastWords | undefined
}

export function createReception({ hidesLastWords, isUnattended }: ReceptionOptions): Reception {
  const listener = createLastWordsListener()
  const last = createLastMessage()
  let asked = 0
  let unattended: UnattendedReply | undefined

  const tell = (bytes: Buffer): Buffer => {
    if (unattended === undefined) return bytes
    const whole = unattended.push(bytes)
    if (whole === undefined) return NOTHING
    unattended = undefined
    return whole
  }
  /**
   * Postgres.js (3.4) keeps an error until the server waits for the next request. Where the connection is lost in between it keeps
   * it for good, and the first query of the slot's next connection fails of it.
   */
  const endOfError = (): Buffer => {
    if (!last.is(ERROR_RESPONSE)) return NOTHING
    last.see(READY_FOR_QUERY_FAILED)
    return READY_FOR_QUERY_FAILED
  }
  const lost = (): Buffer => {
    if (unattended === undefined) return endOfError()
    const { kept } = unattended
    unattended = undefined
    return hidesLastWords ? READY_FOR_QUERY_IDLE : kept()
  }
  return {
    sent(bytes) {
      if (isUnattended === undefined || asked === ASKED_AT_MOST) return
      asked++
      if (!isUnattended(bytes)) return
      unattended = createUnattendedReply()
      asked = ASKED_AT_MOST
    },
    received(chunk) {
      const begin = listener.hear(chunk)
      const heard = begin === undefined || !hidesLastWords ? chunk : chunk.subarray(0, begin)
      if (hidesLastWords) last.see(heard)
      const told = tell(heard)
      return begin === undefined ? told : Buffer.concat([told, lost()])
    },
    lost,
    get isGoingOn() {
      return hidesLastWords && (asked === 0 || last.is(READY_FOR_QUERY_IN_TRANSACTION))
    },
    get lastWords() {
      return listener.heard
    },
  }
}

/** Remembers what kind of message a driver has read last. */
function createLastMessage(): { see(chunk: Buffer): void; is(begin: Buffer): boolean } {
  const walk = createMessageWalk()
  const last = Buffer.alloc(LOOKED_AT_BYTES)
  let lastBytes = 0
  return {
    see(chunk) {
      if (chunk.length === 0) return
      const begin = walk.push(chunk)
      lastBytes = begin === undefined ? 0 : chunk.copy(last, 0, begin)
    },
    is: (begin) =>
      lastBytes >= begin.length && last.compare(begin, 0, begin.length, 0, begin.length) === 0,
  }
}

const ERROR_RESPONSE = Buffer.from('E')
/** As long as `ReadyForQuery`, which is the longest that anybody asks for. */
const LOOKED_AT_BYTES = 6

/** Before it Sequelize may set up the session. */
const ASKED_AT_MOST = 3
const NOTHING = Buffer.alloc(0)

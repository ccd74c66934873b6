/** What a driver gets to read of what its server sends. */
import { READY_FOR_QUERY_IDLE } from '../wire/ready-for-query.js'
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
  /** Returns what the driver may read now, and whether the server has said its last word. */
  received(chunk: Buffer): { told: Buffer; isLast: boolean }
  /** Returns what the driver must read before it hears that the connection is lost. */
  lost(): Buffer
  /** The last words of the server, once they were heard. */
  readonly lastWords: LastWords | undefined
}

export function createReception({ hidesLastWords, isUnattended }: ReceptionOptions): Reception {
  const listener = createLastWordsListener()
  let asked = 0
  let unattended: UnattendedReply | undefined

  const tell = (bytes: Buffer): Buffer => {
    if (unattended === undefined) return bytes
    const whole = unattended.push(bytes)
    if (whole === undefined) return NOTHING
    unattended = undefined
    return whole
  }
  const lost = (): Buffer => {
    if (unattended === undefined) return NOTHING
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
      if (begin === undefined) return { told: tell(chunk), isLast: false }
      const told = tell(hidesLastWords ? chunk.subarray(0, begin) : chunk)
      return { told: Buffer.concat([told, lost()]), isLast: true }
    },
    lost,
    get lastWords() {
      return listener.heard
    },
  }
}

/** Before it Sequelize may set up the session. */
const ASKED_AT_MOST = 3
const NOTHING = Buffer.alloc(0)

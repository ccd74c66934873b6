/** What a driver gets to read of what its server sends. */
import { MessageWalk } from '../wire/message-walk.js'
import { READY_FOR_QUERY_FAILED, READY_FOR_QUERY_IDLE } from '../wire/ready-for-query.js'
import { readLastWords, type LastWords } from './last-words.js'
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

/**
 * Every reply to every query comes by here. So this is a class, whose objects V8 (of Node 20) keeps alike: of the objects with
 * accessors that a function returns it makes dictionaries, and does not inline what they are asked.
 */
export class Reception {
  readonly #hidesLastWords: boolean
  readonly #isUnattended: ReceptionOptions['isUnattended']
  readonly #walk = new MessageWalk()
  /** The type of the message that the driver has read last; 0 where its end came without its beginning, or has not come. */
  #lastType = 0
  /** What the last `ReadyForQuery` says. */
  #lastStatus = 0
  #asked = 0
  #unattended: UnattendedReply | undefined
  /** The last words of the server, once they were heard. */
  lastWords: LastWords | undefined
  /** Whether the server, for all that is known, waits for a request, outside of any transaction. */
  isIdle = true
  /** Counts what was sent and received. */
  traffic = 0

  constructor({ hidesLastWords, isUnattended }: ReceptionOptions) {
    this.#hidesLastWords = hidesLastWords
    this.#isUnattended = isUnattended
  }

  /** Whether the driver reads what the server sends as it is, from now on. */
  get isPlain(): boolean {
    const mayBeUnattended = this.#isUnattended !== undefined && this.#asked < ASKED_AT_MOST
    return !this.#hidesLastWords && this.#unattended === undefined && !mayBeUnattended
  }

  /** Whether the last that came says that the server waits for a request, outside of any transaction. */
  get isAnswered(): boolean {
    return this.#lastType === READY_FOR_QUERY && this.#lastStatus === IDLE
  }

  /** Looks at what the driver sends. */
  sent(bytes: Buffer): void {
    this.traffic++
    this.isIdle = false
    if (this.#isUnattended !== undefined) this.#lookForUnattended(bytes, this.#isUnattended)
  }

  /** Returns what the driver may read now. */
  received(chunk: Buffer): Buffer {
    const begin = this.#walk.push(chunk)
    const type = begin === undefined ? 0 : chunk[begin]!
    if (type === ERROR_RESPONSE) {
      const lastWords = readLastWords(chunk.subarray(begin))
      if (lastWords !== undefined) return this.#heard(lastWords, chunk, begin!)
    }
    this.#see(chunk, begin)
    return this.#unattended === undefined ? chunk : this.#tell(chunk)
  }

  /** Returns what the driver must read before it hears that the connection is lost. */
  lost(): Buffer {
    if (this.#unattended === undefined) return this.#endOfError()
    const { kept } = this.#unattended
    this.#unattended = undefined
    return this.#hidesLastWords ? READY_FOR_QUERY_IDLE : kept()
  }

  /**
   * Whether the driver, where it hides the last words, may be about to go on after the last answer: by promises, which come
   * to pass behind the events of the stream.
   */
  get isGoingOn(): boolean {
    const isInTransaction =
      this.#lastType === READY_FOR_QUERY && this.#lastStatus === IN_TRANSACTION
    return this.#hidesLastWords && (this.#asked === 0 || isInTransaction)
  }

  #see(chunk: Buffer, begin: number | undefined): void {
    this.traffic++
    this.#lastType = begin === undefined ? 0 : chunk[begin]!
    if (this.#lastType !== READY_FOR_QUERY) return
    this.#lastStatus = chunk[begin! + HEADER_BYTES]!
    this.isIdle = this.#lastStatus === IDLE
  }

  #heard(lastWords: LastWords, chunk: Buffer, begin: number): Buffer {
    this.lastWords ??= lastWords
    const told = this.#hidesLastWords ? chunk.subarray(0, begin) : chunk
    if (told.length > 0) this.#see(told, this.#hidesLastWords ? this.#walk.previous : begin)
    return Buffer.concat([this.#tell(told), this.lost()])
  }

  #tell(bytes: Buffer): Buffer {
    if (this.#unattended === undefined) return bytes
    const whole = this.#unattended.push(bytes)
    if (whole === undefined) return NOTHING
    this.#unattended = undefined
    return whole
  }

  /**
   * Postgres.js (3.4) keeps an error until the server waits for the next request. Where the connection is lost in between it keeps
   * it for good, and the first query of the slot's next connection fails of it.
   */
  #endOfError(): Buffer {
    if (!this.#hidesLastWords || this.#lastType !== ERROR_RESPONSE) return NOTHING
    this.#lastType = READY_FOR_QUERY
    this.#lastStatus = FAILED
    return READY_FOR_QUERY_FAILED
  }

  #lookForUnattended(bytes: Buffer, isUnattended: (request: Buffer) => boolean): void {
    if (this.#asked === ASKED_AT_MOST) return
    this.#asked++
    if (!isUnattended(bytes)) return
    this.#unattended = createUnattendedReply()
    this.#asked = ASKED_AT_MOST
  }
}

const HEADER_BYTES = 5
const ERROR_RESPONSE = 'E'.charCodeAt(0)
const READY_FOR_QUERY = 'Z'.charCodeAt(0)
/** What a server is in when it waits for a request. */
const IDLE = 'I'.charCodeAt(0)
const IN_TRANSACTION = 'T'.charCodeAt(0)
const FAILED = 'E'.charCodeAt(0)

/** Before it Sequelize may set up the session. */
const ASKED_AT_MOST = 3
const NOTHING = Buffer.alloc(0)

/**
 * Tracks what a server sends on one physical connection, and decides what is forwarded to the driver.
 *
 * Drivers expect messages to be well formed and in sequence: pg-protocol (1.11) parses a truncated ErrorResponse in an endless loop, and
 * Postgres.js (3.4) ends the process for an unexpected message. So a message is only forwarded when it is complete, well formed and
 * expected. Rows and COPY data can be large, so they are forwarded in chunks and checked on the way.
 */
import { bodyFlaw, headerFlaw, isStreamed, RowCheck } from '../../wire/backend-structure.js'
import { errorFields, severityOf } from '../../wire/error-response.js'
import {
  BackendType,
  FrontendType,
  HEADER_BYTES,
  readyForQuery,
  TransactionStatus,
} from '../../wire/messages.js'
import { PgIamError } from '../errors.js'

/** The fields of the FATAL or PANIC error with which a server ends a session, under the names that drivers use. */
export interface FatalError {
  readonly severity: string
  /** The SQLSTATE. */
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
}

/** The contents of BackendKeyData, which identify the session in a cancel request. */
export interface BackendKey {
  readonly processId: number
  /** The first four bytes, the whole key in protocol 3.0, as an unsigned number. */
  readonly secretKey: number
}

export interface BackendTrackerOptions {
  /** Whether the error that ends the session is not forwarded to the driver. */
  hidesFatalError: boolean
  /** Called with the first requests of a connection. */
  bootstrapQuery: BootstrapQuery | undefined
}

/**
 * Classifies a request: whether it is a bootstrap query, which a client sends on its own for a new connection and whose failure it does not
 * handle. The reply to an `optional` one is held until it is complete, and replaced with an empty result if it is an error. If the reply to
 * a `required` one is an error, the connection is ended after it: a client that abandons the connection leaves it open. A `tolerated` one is
 * `optional`, and not the last bootstrap query.
 */
export type BootstrapQuery = (request: Buffer) => 'optional' | 'tolerated' | 'required' | undefined

/**
 * A class, because each query and each reply passes through it: V8 (Node 20) optimizes class instances. Objects with accessors that a
 * function returns become dictionaries, whose accessors are not inlined.
 */
export class BackendTracker {
  readonly #hidesFatalError: boolean
  readonly #bootstrapQuery: BootstrapQuery | undefined

  /** The start of a message that must be complete before it is forwarded, or of a header. */
  #held: Buffer[] = []
  #heldBytes = 0
  #neededBytes = 0
  /** The bytes left of a row or of COPY data. */
  #bodyLeft = 0
  #row: RowCheck | undefined

  /** Whether the login is complete: the server has sent its first ReadyForQuery. */
  #isLoggedIn = false
  /** The type of the last message that was forwarded to the driver. */
  #lastType = 0
  /** The transaction status of the last ReadyForQuery. */
  #status = 0
  #isCopying = false

  readonly #requests = new FrontendReader()
  #requestsSeen = 0
  #bootstrap: BootstrapReply | undefined
  #isRequired = false
  /** Whether the last request was a bootstrap query. */
  #hasBootstrapped = false
  /** A FATAL error that is forwarded after the driver has processed the messages before it. */
  #heldFatal: Buffer = NOTHING

  /** The error with which the server ended the session. */
  fatalError: FatalError | undefined
  /** The error for a malformed or unexpected message. Neither the message nor anything after it is forwarded. */
  violation: PgIamError | undefined
  /** Whether the server has answered a request since the login. */
  hasAnswered = false
  /** `undefined` if the server sends none. */
  backendKey: BackendKey | undefined

  /** Whether a required bootstrap query has failed, so that the connection must be ended. */
  hasFailedBootstrap = false

  constructor({ hidesFatalError, bootstrapQuery }: BackendTrackerOptions) {
    this.#hidesFatalError = hidesFatalError
    this.#bootstrapQuery = bootstrapQuery
  }

  /** Whether the driver has sent Terminate. */
  get isTerminated(): boolean {
    return this.#requests.isTerminated
  }

  /** Whether the last ReadyForQuery was outside a transaction. */
  get isOutsideTransaction(): boolean {
    return this.#status === TransactionStatus.idle
  }

  /**
   * Whether the driver has not yet processed what it received, so that the end of the connection must be delayed. Drivers continue in
   * promises, which settle after the stream's events: after the login and the bootstrap queries, for a query that waits for the connection,
   * and after a reply within a transaction; Postgres.js (3.4) also at the start of a COPY, whose stream has no listeners until then.
   */
  get hasYetToAct(): boolean {
    if (this.#requestsSeen === 0) return this.#isLoggedIn || this.#hidesFatalError
    if (this.#hasBootstrapped) return true
    const isInTransaction = this.isReady && this.#status === TransactionStatus.inTransaction
    return (
      (isInTransaction && !this.#requests.hasAsked) || (this.#hidesFatalError && this.#isCopying)
    )
  }

  /** Whether the last message forwarded to the driver was ReadyForQuery. */
  get isReady(): boolean {
    return this.#lastType === BackendType.readyForQuery
  }

  /** Whether a bootstrap query has failed or has not been answered. */
  get isBootstrapping(): boolean {
    return this.#hasBootstrapped && (this.hasFailedBootstrap || this.#requests.hasAsked)
  }

  /** Takes the bytes that the driver writes, before they are sent. */
  sent(bytes: Buffer): void {
    this.#requests.push(bytes)
    this.#hasBootstrapped = false
    this.#isRequired = false
    if (this.#requestsSeen === BOOTSTRAP_REQUESTS) return
    this.#requestsSeen++
    const kind = this.#bootstrapQuery?.(bytes)
    this.#hasBootstrapped = kind !== undefined
    this.#isRequired = kind === 'required'
    if (kind !== 'optional' && kind !== 'tolerated') return
    this.#bootstrap = new BootstrapReply()
    if (kind === 'optional') this.#requestsSeen = BOOTSTRAP_REQUESTS
  }

  /**
   * Takes received bytes. Returns those that are forwarded to the driver now. Check `violation` and `fatalError` afterwards: after either,
   * the connection is over.
   */
  received(chunk: Buffer): Buffer {
    if (this.violation !== undefined || this.fatalError !== undefined) return NOTHING
    const bytes = this.#withHeld(chunk)
    if (bytes === undefined) return NOTHING
    const end = this.#check(bytes)
    const valid = end === bytes.length ? bytes : bytes.subarray(0, end)
    const forDriver = this.#bootstrap === undefined ? valid : this.#afterBootstrap(valid)
    // If the driver has pending work, the rest is forwarded at the end.
    if (this.fatalError === undefined || this.#heldFatal.length > 0) return forDriver
    return Buffer.concat([forDriver, this.lost()])
  }

  /** Returns the bytes to forward before the driver is notified that the connection is lost. */
  lost(): Buffer {
    const fatal = this.#heldFatal
    this.#heldFatal = NOTHING
    if (fatal.length > 0) return fatal
    if (this.#bootstrap === undefined) return this.#endOfError()
    const { bytes } = this.#bootstrap
    this.#bootstrap = undefined
    return this.#hidesFatalError ? READY_IDLE : bytes()
  }

  /** Joins the held bytes with the new chunk once they are enough. A message in many chunks is copied only once. */
  #withHeld(chunk: Buffer): Buffer | undefined {
    if (this.#heldBytes === 0) return chunk
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes < this.#neededBytes) return undefined
    const bytes = Buffer.concat(this.#held, this.#heldBytes)
    this.#held = []
    this.#heldBytes = 0
    return bytes
  }

  /** Checks message by message. Returns the end of the bytes that may be forwarded. */
  #check(bytes: Buffer): number {
    let offset = 0
    while (offset < bytes.length && this.violation === undefined) {
      if (this.#bodyLeft > 0) {
        const end = this.#passBody(bytes, offset)
        if (end === undefined) break
        offset = end
        continue
      }
      if (bytes.length - offset < HEADER_BYTES) {
        this.#hold(bytes.subarray(offset), HEADER_BYTES)
        break
      }
      const type = bytes[offset]!
      const length = bytes.readInt32BE(offset + 1)
      const flaw = headerFlaw(type, length) ?? this.#sequenceFlaw(type)
      if (flaw !== undefined) {
        this.#refuse(flaw)
        break
      }
      const end = offset + 1 + length
      if (end > bytes.length) {
        if (!isStreamed(type)) {
          this.#hold(bytes.subarray(offset), 1 + length)
          break
        }
        this.#bodyLeft = length - 4
        if (type === BackendType.dataRow) this.#row = new RowCheck()
        this.#lastType = type
        offset += HEADER_BYTES
        continue
      }
      const broken = bodyFlaw(type, bytes, offset + HEADER_BYTES, end)
      if (broken !== undefined) {
        this.#refuse(broken)
        break
      }
      if (type === BackendType.errorResponse && this.#endsSession(bytes.subarray(offset, end))) {
        if (this.#hidesFatalError) return offset
        if (offset === 0 || !this.hasYetToAct) return end
        this.#heldFatal = Buffer.from(bytes.subarray(offset, end))
        return offset
      }
      if (this.violation !== undefined) break
      if (!isStreamed(type)) this.#note(type, bytes, offset, end)
      this.#lastType = type
      offset = end
    }
    return offset
  }

  /** Returns the end of the bytes of a row or of COPY data that may be forwarded; `undefined` if the row is malformed. */
  #passBody(bytes: Buffer, offset: number): number | undefined {
    const end = Math.min(bytes.length, offset + this.#bodyLeft)
    this.#bodyLeft -= end - offset
    const isValid = this.#row?.push(bytes, offset, end) ?? true
    const isWhole = this.#bodyLeft > 0 || (this.#row?.isComplete ?? true)
    if (this.#bodyLeft === 0) this.#row = undefined
    if (isValid && isWhole) return end
    this.#refuse('a malformed DataRow')
    return undefined
  }

  #hold(rest: Buffer, needed: number): void {
    // A copy, since the chunk may be much larger.
    this.#held = [Buffer.from(rest)]
    this.#heldBytes = rest.length
    this.#neededBytes = needed
  }

  #sequenceFlaw(type: number): string | undefined {
    const isExpected = this.#isLoggedIn
      ? ANY_TIME.has(type) || type === BackendType.errorResponse || this.#requests.awaits(type)
      : DURING_LOGIN.has(type)
    return isExpected
      ? undefined
      : `a message of type "${String.fromCharCode(type)}" out of sequence`
  }

  /** Whether this error ends the session. An error that does not is only valid as a reply. */
  #endsSession(message: Buffer): boolean {
    this.fatalError = readFatalError(message)
    if (this.fatalError !== undefined) return true
    if (this.#isLoggedIn && !this.#requests.awaits(BackendType.errorResponse))
      this.#refuse('an ErrorResponse out of sequence')
    return false
  }

  #note(type: number, bytes: Buffer, offset: number, end: number): void {
    if (this.#bootstrap !== undefined) this.#bootstrap.note(type, end)
    this.#requests.answered(type)
    if (type === BackendType.errorResponse) this.hasFailedBootstrap = this.#isRequired
    if (BEGINS_COPY.has(type)) this.#isCopying = true
    else if (type === BackendType.commandComplete || type === BackendType.errorResponse)
      this.#isCopying = false
    if (type === BackendType.backendKeyData)
      this.backendKey = readBackendKey(bytes, offset + HEADER_BYTES)
    if (type !== BackendType.readyForQuery) return
    this.#status = bytes[offset + HEADER_BYTES]!
    if (this.#isLoggedIn) this.hasAnswered = true
    this.#isLoggedIn = true
  }

  #refuse(flaw: string): void {
    this.violation = protocolError(`the server sent ${flaw}`)
  }

  #afterBootstrap(bytes: Buffer): Buffer {
    const reply = this.#bootstrap!
    reply.push(bytes)
    if (reply.isWhole) {
      this.#bootstrap = undefined
      return reply.forDriver()
    }
    if (reply.size > MAX_BOOTSTRAP_BYTES)
      this.#refuse(`more than ${MAX_BOOTSTRAP_BYTES} bytes in reply to a bootstrap query`)
    return NOTHING
  }

  /**
   * Postgres.js (3.4) keeps an error until ReadyForQuery. If the connection is lost before that, it keeps the error and rejects the first
   * query of its next connection with it.
   */
  #endOfError(): Buffer {
    if (!this.#hidesFatalError || this.#lastType !== BackendType.errorResponse) return NOTHING
    this.#lastType = BackendType.readyForQuery
    this.#status = TransactionStatus.failed
    return READY_FAILED
  }
}

/** The error for a server that violates the protocol. */
export function protocolError(what: string, cause?: unknown): PgIamError {
  return new PgIamError('ERR_PROTOCOL', `${what}, which violates the PostgreSQL protocol`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'Check host, port and any proxy: the peer may not be a PostgreSQL server.',
  })
}

/** The error for an application, with the SQLSTATE as its `code`, as in drivers' errors. */
export function fatalErrorOf({ message, ...fields }: FatalError): Error {
  return Object.assign(new Error(message), fields)
}

function readBackendKey(bytes: Buffer, offset: number): BackendKey {
  return { processId: bytes.readUInt32BE(offset), secretKey: bytes.readUInt32BE(offset + 4) }
}

/** Parses an error. Returns `undefined` for an error that does not end the session. */
function readFatalError(message: Buffer): FatalError | undefined {
  const fields = errorFields(message)
  const severity = severityOf(fields)
  if (severity !== 'FATAL' && severity !== 'PANIC') return undefined
  const detail = fields.get('D')
  const hint = fields.get('H')
  return {
    severity,
    code: fields.get('C') ?? '08006',
    message: fields.get('M') ?? 'the server ended the connection',
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  }
}

/** The reply to a bootstrap query. */
class BootstrapReply {
  readonly #chunks: Buffer[] = []
  #isError = false
  /** The end of the reply in the last chunk. */
  #end = 0
  size = 0
  isWhole = false

  note(type: number, end: number): void {
    if (this.isWhole) return
    this.#isError ||= type === BackendType.errorResponse
    this.isWhole = type === BackendType.readyForQuery
    this.#end = end
  }

  push(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.size += bytes.length
  }

  readonly bytes = (): Buffer => Buffer.concat(this.#chunks, this.size)

  forDriver(): Buffer {
    return this.#isError
      ? Buffer.concat([READY_IDLE, this.#chunks.at(-1)!.subarray(this.#end)])
      : this.bytes()
  }
}

/** Tracks the driver's requests, to know which replies are expected. A driver may pipeline requests. */
class FrontendReader {
  #bodyLeft = 0
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  /** The number of expected ReadyForQuery messages. */
  #readyDue = 0
  /** The expected replies, one bit each, to requests that a ReadyForQuery will end. */
  #due = 0
  /** The same for messages of the extended protocol that are not followed by a Sync yet. */
  #dueBeforeSync = 0
  /** Set if the driver violates the protocol. The expected replies are then unknown. */
  #isLost = false
  isTerminated = false

  /** Whether the driver is waiting for a reply. */
  get hasAsked(): boolean {
    return this.#readyDue > 0 || this.#dueBeforeSync !== 0
  }

  awaits(type: number): boolean {
    return ((this.#due | this.#dueBeforeSync) & REPLY_BITS[type]!) !== 0 || this.#isLost
  }

  /** Records a message that is forwarded to the driver. */
  answered(type: number): void {
    if (type === BackendType.copyOutResponse || type === BackendType.copyBothResponse)
      this.#due |= COPY_REPLIES
    else if (
      type === BackendType.copyDone ||
      type === BackendType.commandComplete ||
      type === BackendType.errorResponse
    )
      this.#due &= ~COPY_REPLIES
    else if (type === BackendType.readyForQuery && this.#readyDue > 0) {
      this.#readyDue--
      if (this.#readyDue === 0) this.#due = 0
    }
  }

  push(bytes: Buffer): void {
    let offset = 0
    while (offset < bytes.length && !this.#isLost) {
      if (this.#bodyLeft > 0) {
        const skipped = Math.min(this.#bodyLeft, bytes.length - offset)
        this.#bodyLeft -= skipped
        offset += skipped
      } else if (this.#headerBytes > 0 || bytes.length - offset < HEADER_BYTES) {
        const taken = Math.min(HEADER_BYTES - this.#headerBytes, bytes.length - offset)
        bytes.copy(this.#header, this.#headerBytes, offset, offset + taken)
        this.#headerBytes += taken
        offset += taken
        if (this.#headerBytes < HEADER_BYTES) return
        this.#headerBytes = 0
        this.#asked(this.#header[0]!, this.#header.readInt32BE(1), undefined)
      } else {
        const length = bytes.readInt32BE(offset + 1)
        const end = offset + 1 + length
        const rowLimit =
          bytes[offset] === FrontendType.execute &&
          length >= MIN_EXECUTE_LENGTH &&
          end <= bytes.length
            ? bytes.readInt32BE(end - 4)
            : undefined
        this.#asked(bytes[offset]!, length, rowLimit)
        offset += HEADER_BYTES
      }
    }
  }

  /** @param rowLimit the limit of an Execute, 0 for none; `undefined` if unknown */
  #asked(type: number, length: number, rowLimit: number | undefined): void {
    const replies = REPLIES[type]
    if (length < 4 || replies === undefined) {
      this.#isLost = true
      return
    }
    this.#bodyLeft = length - 4
    this.isTerminated ||= type === FrontendType.terminate
    const due =
      type === FrontendType.execute && rowLimit === 0 ? replies & ~PORTAL_SUSPENDED : replies
    if (
      type !== FrontendType.query &&
      type !== FrontendType.sync &&
      type !== FrontendType.functionCall
    ) {
      this.#dueBeforeSync |= due
      return
    }
    this.#due |= due | this.#dueBeforeSync
    this.#dueBeforeSync = 0
    this.#readyDue++
  }
}

/** One bit per type of reply. */
const REPLY_BITS: Uint32Array = new Uint32Array(256)
Buffer.from('123CDEGHIVWZcdnstT').forEach((type, index) => (REPLY_BITS[type] = 1 << index))

function bits(types: string): number {
  return Buffer.from(types).reduce((all, type) => all | REPLY_BITS[type]!, 0)
}

const COPY_REPLIES = bits('dc')
const PORTAL_SUSPENDED = bits('s')

/** Length, an empty portal name, and the row limit. */
const MIN_EXECUTE_LENGTH = 9

/**
 * The replies that a server may send to each request, besides the asynchronous messages. See
 * https://www.postgresql.org/docs/current/protocol-flow.html
 */
const REPLIES: readonly (number | undefined)[] = repliesByType({
  Q: 'TDCIGHWEZ',
  P: '1E',
  B: '2E',
  D: 'tTnE',
  E: 'DCIsGHWE',
  C: '3E',
  S: 'EZ',
  F: 'VEZ',
  H: '',
  d: '',
  c: '',
  f: '',
  X: '',
})

function repliesByType(replies: Readonly<Record<string, string>>): (number | undefined)[] {
  const byType: (number | undefined)[] = Array.from({ length: 256 })
  for (const [type, types] of Object.entries(replies)) byType[type.charCodeAt(0)] = bits(types)
  return byType
}

const BEGINS_COPY: ReadonlySet<number> = new Set<number>([
  BackendType.copyInResponse,
  BackendType.copyOutResponse,
  BackendType.copyBothResponse,
])

/** Asynchronous messages, which a server may send at any time. */
const ANY_TIME: ReadonlySet<number> = new Set<number>([
  BackendType.noticeResponse,
  BackendType.notificationResponse,
  BackendType.parameterStatus,
])

/** The messages between AuthenticationOk and the first ReadyForQuery, and the error that rejects a login. */
const DURING_LOGIN: ReadonlySet<number> = new Set<number>([
  BackendType.authentication,
  BackendType.backendKeyData,
  BackendType.errorResponse,
  BackendType.negotiateProtocolVersion,
  BackendType.noticeResponse,
  BackendType.parameterStatus,
  BackendType.readyForQuery,
])

/** Sequelize (6 and 7) may set up the session before it queries types. */
const BOOTSTRAP_REQUESTS = 3
/** A type takes about 40 bytes of the reply, so this allows some 400,000 types. */
const MAX_BOOTSTRAP_BYTES = 16 << 20

export const READY_IDLE: Buffer = readyForQuery('I')
const READY_FAILED = readyForQuery('E')
const NOTHING = Buffer.alloc(0)

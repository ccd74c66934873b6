/**
 * The session-level advisory locks of tools on Aurora DSQL, which has none: migration tools take one so that two of them do not run at once.
 * The proxy holds them between its own connections. Other machines are not kept out.
 *
 * `SELECT pg_advisory_lock(...)`, `pg_try_advisory_lock(...)`, `pg_advisory_unlock(...)` and `pg_advisory_unlock_all()` are answered, alone
 * in their statement, with integers or parameters. All else goes on to the server, which refuses it.
 */
import {
  bindComplete,
  closeComplete,
  commandComplete,
  dataRow,
  errorResponse,
  type FrontendMessage,
  type HookReply,
  noticeResponse,
  Oid,
  parameterDescription,
  parseComplete,
  readFrontendMessage,
  readyForQuery,
  rowDescription,
  ServerError,
} from '../gateway/index.js'

/** The locks of one database. */
export interface AdvisoryLocks {
  /** Creates the holder for one connection. */
  holder(): LockHolder
}

interface LockHolder {
  /** Resolves with whether the lock was taken: not, if it is held and the call must not wait. Rejects if the signal aborts. */
  take(key: string, waits: boolean, signal: AbortSignal): Promise<boolean>
  /** Returns whether the lock was held. */
  release(key: string): boolean
  releaseAll(): void
}

interface Lock {
  holder: object
  /** How often the holder has taken it. */
  count: number
  readonly waiting: Set<() => void>
}

export function createAdvisoryLocks(): AdvisoryLocks {
  const locks = new Map<string, Lock>()
  return {
    holder() {
      const self = {}
      const tryTake = (key: string): boolean => {
        const lock = locks.get(key)
        if (lock === undefined) locks.set(key, { holder: self, count: 1, waiting: new Set() })
        else if (lock.holder === self) lock.count++
        else return false
        return true
      }
      const free = (key: string, { waiting }: Lock): void => {
        locks.delete(key)
        for (const wake of waiting) wake()
      }
      return {
        async take(key, waits, signal) {
          while (!tryTake(key)) {
            if (!waits) return false
            const { waiting } = locks.get(key)!
            await new Promise<void>((resolve, reject) => {
              const settle = (): void => {
                waiting.delete(wake)
                signal.removeEventListener('abort', abort)
              }
              const wake = (): void => {
                settle()
                resolve()
              }
              const abort = (): void => {
                settle()
                reject(signal.reason as Error)
              }
              waiting.add(wake)
              if (signal.aborted) abort()
              else signal.addEventListener('abort', abort)
            })
          }
          return true
        },
        release(key) {
          const lock = locks.get(key)
          if (lock?.holder !== self) return false
          if (--lock.count === 0) free(key, lock)
          return true
        },
        releaseAll() {
          for (const [key, lock] of locks) if (lock.holder === self) free(key, lock)
        },
      }
    },
  }
}

// Statements.

type LockFunction =
  'pg_advisory_lock' | 'pg_try_advisory_lock' | 'pg_advisory_unlock' | 'pg_advisory_unlock_all'

interface LockCall {
  readonly name: LockFunction
  /** Integers, or the numbers of parameters. */
  readonly arguments: readonly (bigint | { readonly parameter: number })[]
  readonly column: string
}

const CALL = new RegExp(
  [
    String.raw`^\s*select\s+(?:pg_catalog\s*\.\s*)?`,
    String.raw`(?<name>pg_advisory_lock|pg_try_advisory_lock|pg_advisory_unlock_all|pg_advisory_unlock)`,
    String.raw`\s*\(\s*(?<given>[^()]*?)\s*\)\s*`,
    String.raw`(?:(?:as\s+)?(?<alias>"(?:[^"]|"")+"|[a-z_]\w*)\s*)?;?\s*$`,
  ].join(''),
  'i',
)
const ARGUMENT =
  /^(?:(?<integer>-?\d{1,19})|\$(?<parameter>[12]))(?:\s*::\s*(?:bigint|int8|integer|int4|int))?$/i

/** The call that a statement consists of, or `undefined` for any other statement. */
export function lockCallOf(sql: string): LockCall | undefined {
  const groups = CALL.exec(sql)?.groups
  if (groups === undefined) return undefined
  const name = groups['name']!.toLowerCase() as LockFunction
  const texts = groups['given'] === '' ? [] : groups['given']!.split(/\s*,\s*/)
  const takes = name === 'pg_advisory_unlock_all' ? [0] : [1, 2]
  if (!takes.includes(texts.length)) return undefined
  const found = texts.map((text) => {
    const { integer, parameter } = ARGUMENT.exec(text)?.groups ?? {}
    if (parameter !== undefined) return { parameter: Number(parameter) }
    return integer === undefined ? undefined : BigInt(integer)
  })
  if (found.includes(undefined)) return undefined
  return {
    name,
    arguments: found as LockCall['arguments'],
    column: columnNamed(groups['alias']) ?? name,
  }
}

function columnNamed(alias: string | undefined): string | undefined {
  return alias?.startsWith('"') === true
    ? alias.slice(1, -1).replaceAll('""', '"')
    : alias?.toLowerCase()
}

// Sessions.

interface LockSessionSettings {
  readonly locks: AdvisoryLocks
  /** The session's transaction status, as of the last reply. */
  transactionStatus(): 'I' | 'T' | 'E'
  /** Called when a lock is taken. */
  taken(): void
}

/** The advisory locks of one connection. */
export interface LockSession {
  /** Answers a message about advisory locks. Any other message is not answered. */
  onMessage(message: Uint8Array): HookReply
  /** Ends the wait for a lock. */
  cancel(): void
  /** Releases all locks, and ends the wait for one. */
  close(): void
}

export function createLockSession({
  locks,
  transactionStatus,
  taken,
}: LockSessionSettings): LockSession {
  const holder = locks.holder()
  const statements = new Map<string, PreparedCall>()
  const portals = new Map<string, BoundCall>()
  let waiting: AbortController | undefined

  async function valueOf({ name }: LockCall, key: string): Promise<boolean | ''> {
    if (name === 'pg_advisory_unlock') return holder.release(key)
    if (name === 'pg_advisory_unlock_all') {
      holder.releaseAll()
      return ''
    }
    waiting = new AbortController()
    const isTaken = await holder.take(key, name === 'pg_advisory_lock', waiting.signal)
    waiting = undefined
    if (isTaken) taken()
    return name === 'pg_advisory_lock' ? '' : isTaken
  }
  async function* run(call: LockCall, key: string, format: 0 | 1): AsyncGenerator<Uint8Array> {
    if (transactionStatus() === 'E') throw IN_FAILED_TRANSACTION
    const value = await valueOf(call, key)
    if (value === false && call.name === 'pg_advisory_unlock')
      yield noticeResponse("you don't own a lock of type ExclusiveLock", 'WARNING', '01000')
    yield dataRow([format === 1 && value !== '' ? Buffer.from([value ? 1 : 0]) : value])
    yield commandComplete('SELECT 1')
  }
  async function* query(call: LockCall): AsyncGenerator<Uint8Array> {
    const messages = run(call, keyOf(call, []), 0)
    try {
      const first = await messages.next()
      yield rowDescription([columnOf(call, 0)])
      if (first.done !== true) yield first.value
      yield* messages
    } catch (error) {
      if (!(error instanceof ServerError)) throw error
      yield errorResponse(error)
    }
    yield readyForQuery(transactionStatus())
  }
  const answer = (message: FrontendMessage): HookReply => {
    switch (message.type) {
      case 'query': {
        const call = lockCallOf(message.sql)
        return call && call.arguments.every((each) => typeof each === 'bigint')
          ? query(call)
          : undefined
      }
      case 'parse': {
        statements.delete(message.statement)
        const call = lockCallOf(message.sql)
        if (call === undefined) return undefined
        const { parameterTypes } = message
        keep(statements, message.statement, { ...call, parameterTypes })
        return parseComplete()
      }
      case 'bind': {
        portals.delete(message.portal)
        const call = statements.get(message.statement)
        if (call === undefined) return undefined
        const format = message.resultFormats[0] === 1 ? 1 : 0
        const values = message.values.map((value, index) =>
          parameterOf(
            value,
            message.formats.length === 1 ? message.formats[0] : message.formats[index],
          ),
        )
        keep(portals, message.portal, { ...call, key: keyOf(call, values), format })
        return bindComplete()
      }
      case 'describe': {
        if (message.of === 'portal') {
          const portal = portals.get(message.name)
          return portal && rowDescription([columnOf(portal, portal.format)])
        }
        const call = statements.get(message.name)
        if (call === undefined) return undefined
        const wanted = call.arguments.length === 1 ? Oid.int8 : Oid.int4
        const parameters = call.arguments.filter((each) => typeof each !== 'bigint')
        const types = parameters.map((_, index) => call.parameterTypes[index] || wanted)
        return Buffer.concat([parameterDescription(types), rowDescription([columnOf(call, 0)])])
      }
      case 'execute': {
        const portal = portals.get(message.portal)
        return portal && run(portal, portal.key, portal.format)
      }
      case 'close': {
        const names = message.of === 'statement' ? statements : portals
        return names.delete(message.name) ? closeComplete() : undefined
      }
      default:
        return undefined
    }
  }
  return {
    onMessage(bytes) {
      const type = bytes[0]!
      // For most messages, the type and one search are enough.
      if (type === QUERY || type === PARSE) {
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        const isRelevant =
          bytes.length < LONGEST_CALL && /advisory/i.test(buffer.toString('latin1'))
        if (!isRelevant && (type === QUERY || statements.size === 0)) return undefined
      } else if (statements.size === 0 && portals.size === 0) return undefined
      return answer(readFrontendMessage(bytes))
    },
    cancel: () => waiting?.abort(CANCELED),
    close() {
      waiting?.abort(CANCELED)
      holder.releaseAll()
    },
  }
}

interface PreparedCall extends LockCall {
  readonly parameterTypes: readonly number[]
}

interface BoundCall extends LockCall {
  readonly key: string
  readonly format: 0 | 1
}

const QUERY = 'Q'.charCodeAt(0)
const PARSE = 'P'.charCodeAt(0)
/** Longer statements are no lock calls, and are not searched. */
const LONGEST_CALL = 1_000
const VOID = 2278

const CANCELED = new ServerError('57014', 'canceling statement due to user request')
const IN_FAILED_TRANSACTION = new ServerError(
  '25P02',
  'current transaction is aborted, commands ignored until end of transaction block',
)

function columnOf(
  { name, column }: LockCall,
  format: 0 | 1,
): {
  name: string
  type: number
  typeSize: number
  format: 0 | 1
} {
  const isVoid = name === 'pg_advisory_lock' || name === 'pg_advisory_unlock_all'
  return {
    name: column,
    type: isVoid ? VOID : Oid.bool,
    typeSize: isVoid ? 4 : 1,
    format,
  }
}

/** PostgreSQL has separate locks for one number and for two. Throws an error of the client. */
function keyOf(call: LockCall, values: readonly (bigint | null)[]): string {
  const bits = call.arguments.length === 1 ? 64 : 32
  const numbers = call.arguments.map((each) => {
    const value = typeof each === 'bigint' ? each : values[each.parameter - 1]
    if (typeof value !== 'bigint' || BigInt.asIntN(bits, value) !== value)
      throw new ServerError('22003', `${bits === 64 ? 'bigint' : 'integer'} out of range`)
    return value
  })
  return numbers.join(',')
}

function parameterOf(value: Buffer | null, format: number | undefined): bigint | null {
  if (value === null) return null
  if (format === 1) {
    if (value.length === 8) return value.readBigInt64BE(0)
    if (value.length === 4) return BigInt(value.readInt32BE(0))
    if (value.length === 2) return BigInt(value.readInt16BE(0))
  }
  const text = value.toString()
  if (format !== 1 && /^\s*[+-]?\d{1,19}\s*$/.test(text))
    return BigInt(text.trim().replace('+', ''))
  throw new ServerError('22P02', 'invalid input syntax for type bigint')
}

/** A client could prepare any number of them. */
function keep<T>(names: Map<string, T>, name: string, one: T): void {
  names.delete(name)
  names.set(name, one)
  const [oldest] = names.keys()
  if (names.size > MAX_NAMES && oldest !== undefined) names.delete(oldest)
}

const MAX_NAMES = 1_000

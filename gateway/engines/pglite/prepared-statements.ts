/** Gives each session prepared statements of its own on one connection, where a name can stand for only one. */
import { createHash } from 'node:crypto'
import { HEADER_BYTES } from '../../../core/wire/message-reader.js'
import { FrontendType } from '../../wire/message-types.js'
import { textAt, withText } from './frontend-text.js'

/** What the sessions of one engine know of each other. */
export interface EngineStatements {
  /** Rises whenever a session drops the statements of all. */
  generation: number
  /** The session whose unnamed statement is in place. SQL of the engine's own drops it. */
  unnamedOwner: number | undefined
  /** The session that had the last turn. */
  lastSession: number | undefined
}

export interface PreparedStatements {
  /** Rewrites a message to the names that the engine knows, with statements that it has lost in front of it. */
  toEngine(message: Buffer): Buffer[]
  /** A ParseComplete came. Tells whether the client expects it. */
  parseComplete(): boolean
  closeComplete(): void
  /** An ErrorResponse came: what follows it up to the next Sync is not done. */
  failed(): void
  ready(): void
  /** All that was sent is answered. */
  settled(): void
  /** The session has dropped all its statements. */
  dropAll(): void
  /** Gives an error the names that the client knows. */
  toClient(text: string): string
  /** The engine's names of all statements, to be closed. */
  engineNames(): string[]
}

interface Statement {
  readonly name: string
  /** The rewritten Parse message. */
  readonly parse: Buffer
  generation: number
}

/** What has been sent and not been answered. A Query and a Sync end what an error leaves undone. */
type Pending =
  | { type: 'parse'; statement: Statement; isRepeat: boolean }
  | { type: 'close'; name: string | undefined }
  | { type: 'query' | 'sync' }

export function createPreparedStatements(
  session: number,
  shared: EngineStatements,
): PreparedStatements {
  const statements = new Map<string, Statement>()
  const prefix = `s${session}_`
  const ownName = new RegExp(`(?<=")${prefix}[^"]*(?=")`, 'g')
  const longNames = new Map<string, string>()
  let pending: Pending[] = []

  const engineName = (name: string): string => {
    const simple = prefix + name
    if (Buffer.byteLength(simple) <= MAX_NAME_BYTES) return simple
    // PostgreSQL would cut it, and so take names for one that differ only in their ends.
    const short = prefix + createHash('sha256').update(name).digest('hex').slice(0, HASH_DIGITS)
    longNames.set(short, name)
    return short
  }

  const parse = (bytes: Buffer): Buffer => {
    const { text: name, end } = textAt(bytes, HEADER_BYTES)
    const rewritten = name === '' ? bytes : withText(bytes, HEADER_BYTES, end, engineName(name))
    const statement = { name, parse: rewritten, generation: shared.generation }
    pending.push({ type: 'parse', statement, isRepeat: false })
    if (name === '') shared.unnamedOwner = session
    return rewritten
  }
  /** The Parse message of a statement that the session has and the engine has not. */
  const repeat = (name: string): Buffer[] => {
    const statement = statements.get(name)
    if (statement === undefined) return []
    const inPlace =
      name === ''
        ? shared.unnamedOwner === session
        : statement.generation === shared.generation || isPending(name)
    if (inPlace) return []
    if (name === '') shared.unnamedOwner = session
    pending.push({ type: 'parse', statement, isRepeat: true })
    return [statement.parse]
  }
  const isPending = (name: string): boolean =>
    pending.some((item) => item.type === 'parse' && item.statement.name === name)
  const refer = (bytes: Buffer, start: number): Buffer[] => {
    const { text: name, end } = textAt(bytes, start)
    const before = repeat(name)
    if (name === '') return [...before, bytes]
    return [...before, withText(bytes, start, end, engineName(name))]
  }
  /** Takes what is pending up to the first item of the kind. */
  const take = <T extends Pending['type']>(type: T): Extract<Pending, { type: T }> | undefined => {
    const index = pending.findIndex((item) => item.type === type)
    if (index === -1) return undefined
    const [item] = pending.splice(0, index + 1).slice(-1)
    return item as Extract<Pending, { type: T }>
  }

  return {
    toEngine(bytes) {
      switch (bytes.readUInt8(0)) {
        case FrontendType.parse:
          return [parse(bytes)]
        case FrontendType.bind:
          return refer(bytes, textAt(bytes, HEADER_BYTES).end)
        case FrontendType.describe:
          return bytes[HEADER_BYTES] === OF_STATEMENT ? refer(bytes, HEADER_BYTES + 1) : [bytes]
        case FrontendType.close: {
          if (bytes[HEADER_BYTES] !== OF_STATEMENT) {
            pending.push({ type: 'close', name: undefined })
            return [bytes]
          }
          const { text: name, end } = textAt(bytes, HEADER_BYTES + 1)
          pending.push({ type: 'close', name })
          if (name === '') return [bytes]
          return [withText(bytes, HEADER_BYTES + 1, end, engineName(name))]
        }
        case FrontendType.query:
          // As in PostgreSQL, a simple query drops the unnamed statement.
          statements.delete('')
          shared.unnamedOwner = undefined
          pending.push({ type: 'query' })
          return [bytes]
        case FrontendType.sync:
          pending.push({ type: 'sync' })
          return [bytes]
        default:
          return [bytes]
      }
    },
    parseComplete() {
      const item = take('parse')
      if (item === undefined) return true
      item.statement.generation = shared.generation
      statements.set(item.statement.name, item.statement)
      return !item.isRepeat
    },
    closeComplete() {
      const item = take('close')
      if (item?.name !== undefined) statements.delete(item.name)
    },
    failed() {
      if (pending[0]?.type === 'query') return
      const sync = pending.findIndex((item) => item.type === 'sync')
      pending = sync === -1 ? [] : pending.slice(sync)
    },
    ready() {
      const end = pending.findIndex((item) => item.type === 'query' || item.type === 'sync')
      pending = pending.slice(end + 1)
    },
    settled() {
      pending = []
    },
    dropAll() {
      statements.clear()
      shared.generation++
      shared.unnamedOwner = undefined
    },
    toClient: (text) =>
      text.replace(
        ownName,
        (ofEngine: string) => longNames.get(ofEngine) ?? ofEngine.slice(prefix.length),
      ),
    engineNames: () => [...statements.keys()].filter((name) => name !== '').map(engineName),
  }
}

/** PostgreSQL's NAMEDATALEN, without the NUL. */
const MAX_NAME_BYTES = 63
const HASH_DIGITS = 40
const OF_STATEMENT = 'S'.charCodeAt(0)

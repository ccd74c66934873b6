/** What a client's message does, as far as faults care. */
import { HEADER_BYTES, FrontendType } from '../../wire/messages.js'

/** `control` is what begins, marks or undoes a transaction, or belongs to a session. */
export type StatementKind = 'commit' | 'control' | 'statement'

/** Follows which prepared statements and portals of a session commit, and says what a message will run. */
interface StatementWatch {
  /** Looks at a Parse or a Bind that goes to the engine. */
  see(type: number, message: Buffer): void
  /** @returns what the message runs, or `undefined` for one that runs nothing */
  kindOf(type: number, message: Buffer): StatementKind | undefined
}

export function createStatementWatch(): StatementWatch {
  // Both are without the ordinary statements, which makes them empty in most sessions.
  const statements = new Map<string, StatementKind>()
  const portals = new Map<string, StatementKind>()
  return {
    see(type, message) {
      if (type === FrontendType.parse) {
        const name = textAt(message, HEADER_BYTES)
        keep(statements, name, kindOfSql(message, afterText(message, HEADER_BYTES)))
      } else if (statements.size > 0 || portals.size > 0) {
        const statement = textAt(message, afterText(message, HEADER_BYTES))
        keep(portals, textAt(message, HEADER_BYTES), statements.get(statement) ?? 'statement')
      }
    },
    kindOf(type, message) {
      if (type === FrontendType.query) return kindOfSql(message, HEADER_BYTES)
      if (type !== FrontendType.execute) return undefined
      return portals.get(textAt(message, HEADER_BYTES)) ?? 'statement'
    },
  }
}

/** A client can prepare as many statements as it likes: what was kept first is forgotten, and counts as an ordinary statement then. */
function keep(kinds: Map<string, StatementKind>, name: string, kind: StatementKind): void {
  kinds.delete(name)
  if (kind === 'statement') return
  kinds.set(name, kind)
  const [oldest] = kinds.keys()
  if (kinds.size > MAX_NAMES && oldest !== undefined) kinds.delete(oldest)
}

const MAX_NAMES = 1_000

/** PostgreSQL tells names apart by their first 63 bytes. */
const MAX_NAME_BYTES = 63
/** Bytes: enough for every first word and the comments that ORMs put in front of it. */
const LOOKED_AT = 1_000

function kindOfSql(message: Buffer, offset: number): StatementKind {
  const sql = message.toString('latin1', offset, offset + LOOKED_AT)
  const word = /^(?:\s|--[^\n]*\n|\/\*.*?\*\/)*([a-z]+)/is.exec(sql)?.[1]?.toUpperCase()
  if (word === 'COMMIT' || word === 'END') return 'commit'
  return word === undefined || CONTROL.has(word) ? 'control' : 'statement'
}

const CONTROL: ReadonlySet<string> = new Set([
  'BEGIN',
  'START',
  'ROLLBACK',
  'ABORT',
  'SAVEPOINT',
  'RELEASE',
  'SET',
  'RESET',
  'SHOW',
  'DISCARD',
  'DEALLOCATE',
])

function textAt(message: Buffer, offset: number): string {
  const end = message.indexOf(0, offset)
  const length = Math.min((end === -1 ? message.length : end) - offset, MAX_NAME_BYTES)
  return message.toString('latin1', offset, offset + length)
}

function afterText(message: Buffer, offset: number): number {
  return message.indexOf(0, offset) + 1
}

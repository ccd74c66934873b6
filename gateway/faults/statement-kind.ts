/** Classifies the statements in client messages for faults. */
import { HEADER_BYTES, FrontendType } from '../../wire/messages.js'

/** `control` statements begin or roll back transactions, manage savepoints, or change session settings. */
export type StatementKind = 'commit' | 'control' | 'statement'

/** Tracks the kinds of prepared statements and portals of a session, and classifies messages. */
interface StatementWatch {
  /** Records a Parse or Bind message. */
  see(type: number, message: Buffer): void
  /** @returns the kind of statement that the message runs, or `undefined` if it runs none */
  kindOf(type: number, message: Buffer): StatementKind | undefined
}

export function createStatementWatch(): StatementWatch {
  // Ordinary statements are not stored, so both maps are empty in most sessions.
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

/** The number of stored names is limited. The oldest one is removed, and then counts as an ordinary statement. */
function keep(kinds: Map<string, StatementKind>, name: string, kind: StatementKind): void {
  kinds.delete(name)
  if (kind === 'statement') return
  kinds.set(name, kind)
  const [oldest] = kinds.keys()
  if (kinds.size > MAX_NAMES && oldest !== undefined) kinds.delete(oldest)
}

const MAX_NAMES = 1_000

/** PostgreSQL truncates names to 63 bytes. */
const MAX_NAME_BYTES = 63
/** The number of bytes to inspect: enough for the first word and the comments that ORMs put before it. */
const INSPECTED_BYTES = 1_000

function kindOfSql(message: Buffer, offset: number): StatementKind {
  // Most statements are told by three letters. This runs for every Parse, also while no fault is armed.
  if (ORDINARY.has(firstLetters(message, offset))) return 'statement'
  const sql = message.toString('latin1', offset, offset + INSPECTED_BYTES)
  const word = /^(?:\s|--[^\n]*\n|\/\*.*?\*\/)*([a-z]+)/is.exec(sql)?.[1]?.toUpperCase()
  if (word === 'COMMIT' || word === 'END') return 'commit'
  return word === undefined || CONTROL.has(word) ? 'control' : 'statement'
}

function firstLetters(message: Buffer, offset: number): number {
  return message.length < offset + 3 ? 0 : message.readUIntBE(offset, 3) | 0x202020
}

/** The first three letters of ordinary statements, which no other statement begins with. */
const ORDINARY: ReadonlySet<number> = new Set(
  ['select', 'insert', 'update', 'delete', 'with'].map((word) =>
    firstLetters(Buffer.from(word), 0),
  ),
)

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

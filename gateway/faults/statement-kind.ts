/** What a client's message does, as far as faults care. */
import { FrontendType } from '../wire/message-types.js'

/** `control` is what begins, marks or undoes a transaction, or belongs to a session. */
export type StatementKind = 'commit' | 'control' | 'statement'

/** Follows which prepared statements and portals of a session commit, and says what a message will run. */
export interface StatementWatch {
  /** @returns what the message runs, or `undefined` for one that runs nothing */
  see(type: number, message: Buffer): StatementKind | undefined
}

export function createStatementWatch(): StatementWatch {
  const statements = new Map<string, StatementKind>()
  const portals = new Map<string, StatementKind>()
  return {
    see(type, message) {
      switch (type) {
        case FrontendType.query:
          return kindOf(textAt(message, HEADER_BYTES))
        case FrontendType.parse: {
          const name = textAt(message, HEADER_BYTES)
          statements.set(name, kindOf(textAt(message, afterText(message, HEADER_BYTES))))
          return undefined
        }
        case FrontendType.bind: {
          const portal = textAt(message, HEADER_BYTES)
          const statement = textAt(message, afterText(message, HEADER_BYTES))
          portals.set(portal, statements.get(statement) ?? 'statement')
          return undefined
        }
        case FrontendType.execute:
          return portals.get(textAt(message, HEADER_BYTES)) ?? 'statement'
        default:
          return undefined
      }
    },
  }
}

const HEADER_BYTES = 5
/** Long enough for every first word and the comments that ORMs put in front of it. */
const LOOKED_AT = 1_000

function kindOf(sql: string): StatementKind {
  const word = /^(?:\s|--[^\n]*\n|\/\*.*?\*\/)*([a-z]+)/is
    .exec(sql.slice(0, LOOKED_AT))?.[1]
    ?.toUpperCase()
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
  return message.toString('utf8', offset, end === -1 ? message.length : end)
}

function afterText(message: Buffer, offset: number): number {
  return message.indexOf(0, offset) + 1
}

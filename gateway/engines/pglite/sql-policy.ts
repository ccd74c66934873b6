/** Knows the SQL whose effects belong to a session, which one connection cannot keep apart by itself. */
import { raising } from '../../sql/sql-text.js'
import { ServerError } from '../../wire/server-error.js'
import { nameOf, statementsOf, type Statement } from '../../sql/sql-statements.js'

export interface SqlFindings {
  /** The SQL to run instead, which fails with the reason why the given one cannot run. */
  readonly replacement?: string
  /** The channels that it may listen to. */
  readonly channels: readonly string[]
  /** Statements made by PREPARE, by name. */
  readonly prepared: ReadonlyMap<string, string>
  /** Whether it may leave something in the schema for temporary objects. */
  readonly isTemporary: boolean
  /** Whether it may ask what a sequence gave this session last. */
  readonly readsSequence: boolean
}

export const NOTHING_FOUND: SqlFindings = {
  channels: [],
  prepared: new Map(),
  isTemporary: false,
  readsSequence: false,
}

export function inspectSql(sql: string): SqlFindings {
  // Nearly all SQL ends here.
  if (!OF_A_SESSION.test(sql)) return NOTHING_FOUND
  const statements = statementsOf(sql)
  const refusal = statements.map(refusalOf).find((found) => found !== undefined)
  return {
    ...(refusal === undefined
      ? {}
      : {
          replacement: raising(new ServerError('0A000', refusal.message, { hint: refusal.hint })),
        }),
    channels: statements.flatMap(({ tokens }) =>
      tokens[0] === 'LISTEN' ? [nameOf(tokens[1])] : [],
    ),
    prepared: new Map(
      statements.flatMap(({ tokens, text }) =>
        tokens[0] === 'PREPARE' ? [[nameOf(tokens[1]), text] as const] : [],
      ),
    ),
    isTemporary: /temp/i.test(sql),
    readsSequence: /currval|lastval/i.test(sql),
  }
}

const OF_A_SESSION = /temp|hold|listen|prepare|currval|lastval/i

interface Refused {
  message: string
  hint: string
}

function refusalOf({ tokens }: Statement): Refused | undefined {
  if (makesTemporaryRelation(tokens) && !has(tokens, 'ON', 'COMMIT', 'DROP')) {
    return {
      message:
        'temporary tables that outlive their transaction are not supported by the PGlite engine',
      hint: 'Create it in a transaction, with ON COMMIT DROP.',
    }
  }
  if (tokens[0] === 'DECLARE' && has(tokens, 'WITH', 'HOLD')) {
    return {
      message: 'cursors WITH HOLD are not supported by the PGlite engine',
      hint: 'Read the cursor within its transaction.',
    }
  }
  return undefined
}

/** CREATE TEMP TABLE, VIEW or SEQUENCE, CREATE TABLE pg_temp.name, and SELECT INTO TEMP. */
function makesTemporaryRelation(tokens: readonly string[]): boolean {
  if (tokens[0] === 'CREATE') {
    const beginning = tokens.slice(1, LONGEST_BEGINNING)
    const kind = beginning.findIndex((token) => RELATION_KINDS.has(token))
    if (kind === -1) return false
    const isTemporary = beginning.slice(0, kind).some((token) => TEMPORARY.has(token))
    const schema = beginning.slice(kind + 1).find((token) => !IF_NOT_EXISTS.has(token))
    return isTemporary || nameOf(schema) === 'pg_temp'
  }
  if (tokens[0] !== 'SELECT' && tokens[0] !== 'WITH') return false
  return tokens.some((token, index) => token === 'INTO' && TEMPORARY.has(tokens[index + 1] ?? ''))
}

const TEMPORARY: ReadonlySet<string> = new Set(['TEMP', 'TEMPORARY'])
const RELATION_KINDS: ReadonlySet<string> = new Set(['TABLE', 'VIEW', 'SEQUENCE'])
const IF_NOT_EXISTS: ReadonlySet<string> = new Set(['IF', 'NOT', 'EXISTS'])
/** CREATE OR REPLACE GLOBAL TEMPORARY RECURSIVE VIEW, or CREATE TABLE IF NOT EXISTS name */
const LONGEST_BEGINNING = 8

function has(tokens: readonly string[], ...sequence: readonly string[]): boolean {
  return tokens.some((_, start) =>
    sequence.every((token, index) => tokens[start + index] === token),
  )
}

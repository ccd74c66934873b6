/** Takes SQL apart as far as it takes to know what its statements begin with and which words they hold. */
import type { ServerError } from '../wire/error-response.js'

export interface Statement {
  /** Words in upper case, quoted identifiers with one `"` in front, and all other characters one by one. */
  readonly tokens: readonly string[]
  readonly text: string
  /** Where it lies in the SQL, with the white space and the comments around it. */
  readonly start: number
  readonly end: number
}

/** Empty statements are left out. Text that does not lex ends the last statement: PostgreSQL will say what is wrong. */
export function statementsOf(sql: string): Statement[] {
  return [...statementsIn(sql, Infinity)]
}

/** The same one by one, with the first `maxTokens` of each: of a hundred megabytes of SQL nothing else is held. */
export function* statementsIn(sql: string, maxTokens: number): Generator<Statement> {
  let tokens: string[] = []
  let start = 0
  const statement = (end: number): Statement[] =>
    tokens.length === 0 ? [] : [{ tokens, text: sql.slice(start, end).trim(), start, end }]
  const add = (token: string): void => {
    if (tokens.length < maxTokens) tokens.push(token)
  }
  let place = 0
  while (place < sql.length) {
    TOKEN.lastIndex = place
    const { word, quoted, dollar, comment, other } = TOKEN.exec(sql)?.groups ?? {}
    const offset = place
    place = TOKEN.lastIndex
    if (place === 0) break
    if (word !== undefined) add(word.toUpperCase())
    else if (quoted !== undefined) add(`"${quoted.slice(1, -1).replaceAll('""', '"')}`)
    else if (dollar !== undefined) place = after(sql, dollar, place)
    else if (comment !== undefined) place = afterComment(sql, place)
    else if (other === ';') {
      yield* statement(offset)
      tokens = []
      start = place
    } else if (other !== undefined) add(other)
  }
  yield* statement(sql.length)
}

/** White space and line comments, text literals, and then what the groups are named for. */
const TOKEN: RegExp = new RegExp(
  [
    String.raw`\s+|--[^\n\r]*`,
    String.raw`[eE]'(?:[^'\\]|''|\\.)*'|(?:[bBnNxX]|[uU]&)?'(?:[^']|'')*'`,
    String.raw`(?<quoted>"(?:[^"]|"")*")`,
    String.raw`(?<dollar>\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$)`,
    String.raw`(?<comment>\/\*)`,
    String.raw`(?<word>[\p{L}_][\p{L}\p{N}_$]*)`,
    String.raw`(?<other>.)`,
  ].join('|'),
  'suy',
)

/** The name that a token stands for, as PostgreSQL keeps it. */
export function nameOf(token: string | undefined): string {
  if (token === undefined) return ''
  return token.startsWith('"') ? token.slice(1) : token.toLowerCase()
}

function after(sql: string, end: string, offset: number): number {
  const found = sql.indexOf(end, offset)
  return found === -1 ? sql.length : found + end.length
}

/** Comments of this kind nest. */
function afterComment(sql: string, offset: number): number {
  const mark = /\/\*|\*\//g
  mark.lastIndex = offset
  for (let depth = 1; depth > 0;) {
    const found = mark.exec(sql)
    if (found === null) return sql.length
    depth += found[0] === '/*' ? 1 : -1
  }
  return mark.lastIndex
}

// Writes values into SQL of the gateway's own.

/**
 * A text literal in ASCII alone. It means the same whatever client_encoding, standard_conforming_strings and the like the
 * session has set, since SQL of the engine's own runs within the sessions.
 */
export function literal(text: string): string {
  const escaped = text.replace(/[^ -&(-[\]-~]/gu, (character) => {
    const code = character.codePointAt(0)!
    return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`
  })
  return `E'${escaped}'`
}

/**
 * A statement that fails with this error. It comes from PostgreSQL then, in its place among other statements and with its effect on a
 * transaction. It has no parameters and can be prepared like any other.
 */
export function raising({ sqlState, message, hint }: ServerError): string {
  const fields = Object.entries({ ERRCODE: sqlState, MESSAGE: message, HINT: hint }).flatMap(
    ([name, value]) => (value === undefined ? [] : [`${name} = ${literal(value)}`]),
  )
  return `DO ${literal(`BEGIN RAISE EXCEPTION USING ${fields.join(', ')}; END`)}`
}

/**
 * A query of the gateway's own in a session whose search path may name a schema with operators and functions of somebody else. The path
 * is set back behind it. It must not run in a transaction that is open, and itself names schemas, those of operators included: it is
 * read as a whole before the first statement runs, but each statement is analysed on its own.
 */
export function catalogQuery(sql: string): string {
  return `SET LOCAL search_path = pg_catalog; ${sql}`
}

/** An identifier, which has no such escapes in every mode: use it where the settings are known. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}

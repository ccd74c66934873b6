/** A lexer for SQL that splits statements and lists their tokens, and functions that write SQL. */
import type { ServerError } from '../wire/error-response.js'

export interface Statement {
  /** Words are in upper case, and quoted identifiers begin with `"`. Every other character is one token. */
  readonly tokens: readonly string[]
  /** Where each token begins in the SQL. */
  readonly offsets: readonly number[]
  readonly text: string
  /** The offsets of the statement in the SQL, including surrounding white space and comments. */
  readonly start: number
  readonly end: number
}

/** Returns the non-empty statements. Text that cannot be lexed ends the last statement; PostgreSQL reports the syntax error. */
export function statementsOf(sql: string): Statement[] {
  return [...statementsIn(sql, Infinity)]
}

/** Like {@link statementsOf}, but lazy, and with the first `maxTokens` tokens of each statement to limit memory use on large SQL. */
export function* statementsIn(sql: string, maxTokens: number): Generator<Statement> {
  let tokens: string[] = []
  let offsets: number[] = []
  let start = 0
  const statement = (end: number): Statement[] =>
    tokens.length === 0 ? [] : [{ tokens, offsets, text: sql.slice(start, end).trim(), start, end }]
  let offset = 0
  const add = (token: string): void => {
    if (tokens.length >= maxTokens) return
    tokens.push(token)
    offsets.push(offset)
  }
  let place = 0
  while (place < sql.length) {
    TOKEN.lastIndex = place
    const { word, quoted, dollar, comment, other } = TOKEN.exec(sql)?.groups ?? {}
    offset = place
    place = TOKEN.lastIndex
    if (place === 0) break
    if (word !== undefined) add(word.toUpperCase())
    else if (quoted !== undefined) add(`"${quoted.slice(1, -1).replaceAll('""', '"')}`)
    else if (dollar !== undefined) place = endOfQuote(sql, dollar, place)
    else if (comment !== undefined) place = endOfComment(sql, place)
    else if (other === ';') {
      yield* statement(offset)
      tokens = []
      offsets = []
      start = place
    } else if (other !== undefined) add(other)
  }
  yield* statement(sql.length)
}

/** Matches white space and line comments, string literals, and then the named groups. */
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

/** The name that a token denotes, as PostgreSQL stores it: unquoted names in lower case. */
export function nameOf(token: string | undefined): string {
  if (token === undefined) return ''
  return token.startsWith('"') ? token.slice(1) : token.toLowerCase()
}

function endOfQuote(sql: string, end: string, offset: number): number {
  const found = sql.indexOf(end, offset)
  return found === -1 ? sql.length : found + end.length
}

/** Block comments nest in PostgreSQL. */
function endOfComment(sql: string, offset: number): number {
  const mark = /\/\*|\*\//g
  mark.lastIndex = offset
  for (let depth = 1; depth > 0;) {
    const found = mark.exec(sql)
    if (found === null) return sql.length
    depth += found[0] === '/*' ? 1 : -1
  }
  return mark.lastIndex
}

// Functions that write SQL.

/**
 * A string literal in ASCII. The engine runs its own SQL within client sessions, so the literal must not depend on session
 * settings such as client_encoding and standard_conforming_strings.
 */
export function literal(text: string): string {
  const escaped = text.replace(/[^ -&(-[\]-~]/gu, (character) => {
    const code = character.codePointAt(0)!
    return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`
  })
  return `E'${escaped}'`
}

/**
 * A statement that makes PostgreSQL raise this error, so that order and transaction state are those of a real error. It has no
 * parameters and can be prepared.
 */
export function raising({ sqlState, message, hint }: ServerError): string {
  const fields = Object.entries({ ERRCODE: sqlState, MESSAGE: message, HINT: hint }).flatMap(
    ([name, value]) => (value === undefined ? [] : [`${name} = ${literal(value)}`]),
  )
  return `DO ${literal(`BEGIN RAISE EXCEPTION USING ${fields.join(', ')}; END`)}`
}

/**
 * Wraps a query of the gateway, so that a search path of the client cannot substitute its own operators and functions. SET LOCAL
 * restores the path after the query. In an open transaction it would not, so SQL that runs there must qualify all names, including
 * operators. PostgreSQL parses all statements of a query first, but analyses each one just before it runs, with the new path.
 */
export function catalogQuery(sql: string): string {
  return `SET LOCAL search_path = pg_catalog; ${sql}`
}

/** A quoted identifier. Identifiers have no escapes that work with all settings: use it only where the settings are known. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}

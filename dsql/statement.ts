/** Splits SQL into statements, with the parse tree of PostgreSQL 16 and the syntax that only Aurora DSQL has. */
import { peerError } from '../core/load-peer.js'
import { statementsIn } from '../core/sql.js'

/** A node of the parse tree: one key, its type. See https://github.com/pganalyze/libpg_query */
export type Node = Readonly<Record<string, unknown>>

export interface ParsedStatement {
  /** The statement in the form that PostgreSQL has for it. Syntax of Aurora DSQL is replaced by blanks, so offsets do not change. */
  readonly text: string
  /** Where the text begins and ends in the SQL of the message, in characters. */
  readonly start: number
  readonly end: number
  /** Where the text begins for the offsets in the tree, which are in bytes of UTF-8. */
  readonly base: number
  /** The type of the node, such as `SelectStmt`, or `AwsIamStmt`. `undefined` if the statement was not parsed. */
  readonly tag: string | undefined
  readonly node: Node
  /** Whether the statement has `ASYNC`. */
  readonly isAsync: boolean
  /** The first word, in upper case. */
  readonly word: string
}

/** An error of the parser. */
export interface SyntaxFault {
  readonly message: string
  /** In characters, from 1. */
  readonly position: number
}

export type ParsedSql =
  | { readonly fault: SyntaxFault }
  | { readonly fault?: undefined; readonly statements: readonly ParsedStatement[] }

export interface SqlParser {
  /** Parses a text, or returns what is known about it. Texts above {@link MAX_PARSED} are only split, by their first words. */
  parse(sql: string): ParsedSql
}

/** The parser is much slower than linear for large texts, and does not return its memory: an INSERT of 8 MB takes seconds and 470 MB. */
export const MAX_PARSED = 100_000

/** The memory for texts that were seen before, in characters. A parse tree takes up to 50 bytes for each. */
const MAX_KEPT = 1_000_000
const CHARACTERS_PER_TEXT = 20

/**
 * Loads the parser.
 *
 * @throws PgIamError Rejects with `ERR_PEER_MISSING` if `libpg-query` is not installed.
 */
export async function loadSqlParser(): Promise<SqlParser> {
  try {
    const { loadModule, parseSync } = await import('libpg-query')
    await loadModule()
    return createSqlParser(parseSync)
  } catch (error) {
    throw peerError(error, 'libpg-query')
  }
}

type Parse = (sql: string) => {
  stmts?: readonly { stmt: Node; stmt_location?: number; stmt_len?: number }[]
}

function createSqlParser(parseSync: Parse): SqlParser {
  // Texts that were not used since the last change of generations are forgotten.
  let recent = new Map<string, ParsedSql>()
  let older = new Map<string, ParsedSql>()
  let recentLength = 0
  return {
    parse(sql) {
      const known = recent.get(sql)
      if (known !== undefined) return known
      const parsed = older.get(sql) ?? parseSql(sql, parseSync)
      if (sql.length > MAX_PARSED) return parsed
      recent.set(sql, parsed)
      recentLength += sql.length + CHARACTERS_PER_TEXT
      if (recentLength > MAX_KEPT / 2) {
        older = recent
        recent = new Map()
        recentLength = 0
      }
      return parsed
    },
  }
}

function parseSql(sql: string, parseSync: Parse): ParsedSql {
  // The parser refuses an empty text, which PostgreSQL answers with EmptyQueryResponse.
  if (sql.trim() === '') return { statements: [] }
  if (sql.length > MAX_PARSED) return parseLong(sql, parseSync)
  const own = OWN_SYNTAX.test(sql) ? ownSyntax(sql) : undefined
  const parsed = wholeTree(own?.parsed ?? sql, own?.text ?? sql, parseSync)
  if (own === undefined) return parsed
  if (parsed.fault !== undefined) {
    const { position } = parsed.fault
    // The first error in the text is the one that PostgreSQL reports.
    if (own.fault !== undefined && own.fault.position <= position) return { fault: own.fault }
    const offset = own.reserved.find((each) => positionOf(sql, each) === position)
    return offset === undefined ? parsed : syntaxError(sql, offset, RESERVED.length)
  }
  if (own.fault !== undefined) return { fault: own.fault }
  const statements = parsed.statements.map((each) => ({
    ...each,
    isAsync: own.asyncs.some((offset) => offset >= each.start && offset < each.end),
  }))
  return {
    statements: [...statements, ...own.iam].toSorted((one, other) => one.start - other.start),
  }
}

/** Parses the statements one by one, and leaves out what would take too long. */
function parseLong(sql: string, parseSync: Parse): ParsedSql {
  const statements: ParsedStatement[] = []
  let parsedLength = 0
  for (const { start, end, tokens } of statementsIn(sql, 1)) {
    const text = sql.slice(start, end)
    const base = { text, start, end, base: 0, isAsync: false, word: tokens[0] ?? '' }
    const unparsed = { ...base, tag: undefined, node: {} }
    const isParsed = text.length <= MAX_PARSED && parsedLength + text.length <= MAX_PARSED_TOGETHER
    if (!isParsed) {
      statements.push(unparsed)
      continue
    }
    parsedLength += text.length
    const parsed = parseSql(text, parseSync)
    // A function with a body of several statements was split: the engine decides.
    if (parsed.fault !== undefined) statements.push(unparsed)
    else
      statements.push(
        ...parsed.statements.map((each) => ({
          ...each,
          start: start + each.start,
          end: start + each.end,
        })),
      )
  }
  return { statements }
}

/** Of a text above {@link MAX_PARSED}, in characters: the time for it is a fraction of a second. */
const MAX_PARSED_TOGETHER = 1_000_000
const OWN_SYNTAX = /\basync\b|\baws\b/i

/** @param text what the engine gets: of the same length as the text that is parsed */
function wholeTree(sql: string, text: string, parseSync: Parse): ParsedSql {
  let stmts: ReturnType<Parse>['stmts']
  try {
    stmts = sql.trim() === '' ? [] : parseSync(sql).stmts
  } catch (error) {
    const fault = faultOf(error)
    if (fault !== undefined) return { fault }
    // The engine decides about each statement.
    return {
      statements: [...statementsIn(text, 1)].map(({ start, end, tokens }) => ({
        ...{ text: text.slice(start, end), start, end, base: 0, isAsync: false },
        ...{ tag: undefined, node: {}, word: tokens[0] ?? '' },
      })),
    }
  }
  // Offsets are in bytes of UTF-8.
  const bytes = isAscii(sql) ? undefined : Buffer.from(sql)
  const at = (offset: number): number => bytes?.toString('utf8', 0, offset).length ?? offset
  const statements = (stmts ?? []).map(({ stmt, stmt_location: location = 0, stmt_len }) => {
    const start = at(location)
    const end = stmt_len === undefined ? sql.length : at(location + stmt_len)
    const own = text.slice(start, end)
    const [tag, node] = entryOf(stmt)
    const word = firstWord(own)
    return { text: own, start, end, base: location, tag, node, isAsync: false, word }
  })
  return { statements }
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text)
}

function firstWord(text: string): string {
  const [first] = statementsIn(text, 1)
  return first?.tokens[0] ?? ''
}

function entryOf(node: Node | undefined): [string | undefined, Node] {
  const [entry] = Object.entries(node ?? {})
  return entry === undefined ? [undefined, {}] : [entry[0], entry[1] as Node]
}

/** `undefined` for what is no error of syntax, such as the parser's limit of nesting: the engine decides then. */
function faultOf(error: unknown): SyntaxFault | undefined {
  const { message, sqlDetails } = error as Error & { sqlDetails?: { cursorPosition: number } }
  if (!message.startsWith('syntax error at ')) return undefined
  return { message, position: (sqlDetails?.cursorPosition ?? 0) + 1 }
}

function syntaxError(sql: string, offset: number, length: number): { readonly fault: SyntaxFault } {
  const message = `syntax error at or near "${sql.slice(offset, offset + length)}"`
  return { fault: { message, position: positionOf(sql, offset) } }
}

/** PostgreSQL counts characters, which JavaScript has as one or two. */
function positionOf(sql: string, offset: number): number {
  return Array.from(sql.slice(0, offset)).length + 1
}

/** A text in which the syntax of Aurora DSQL is replaced by characters that PostgreSQL's parser takes. */
interface OwnSyntax {
  /** For the engine. */
  readonly text: string
  /** For the parser. */
  readonly parsed: string
  /** The offsets of each `ASYNC` that a statement may have. */
  readonly asyncs: readonly number[]
  /** The offsets of others. */
  readonly reserved: readonly number[]
  readonly iam: readonly ParsedStatement[]
  readonly fault?: SyntaxFault | undefined
}

/**
 * `CREATE [UNIQUE] INDEX ASYNC`, `ALTER TABLE ASYNC`, `AWS IAM GRANT` and `AWS IAM REVOKE`. `ASYNC` is a reserved word everywhere else, which
 * can be a label, as in `SELECT 1 AS async` (assumed: that is so for PostgreSQL's reserved words).
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-create-index-async.html
 */
function ownSyntax(sql: string): OwnSyntax {
  const asyncs: number[] = []
  const reserved: number[] = []
  const iam: ParsedStatement[] = []
  let text = sql
  let parsed = sql
  let fault: SyntaxFault | undefined
  for (const { tokens, offsets, start, end } of statementsIn(sql, Infinity)) {
    if (tokens[0] === 'AWS') {
      const found = iamStatement(sql.slice(offsets[0], end))
      if (found === undefined) fault ??= syntaxError(sql, offsets[0]!, 'aws'.length).fault
      else {
        const own = { text: sql.slice(start, end), start, end, base: 0, isAsync: false }
        iam.push({ ...own, tag: 'AwsIamStmt', node: found, word: 'AWS' })
      }
      parsed = replaced(parsed, start, sql.slice(start, end).replace(/[^]/g, ' '))
      continue
    }
    const isPlaced = PLACES.has(tokens.slice(0, tokens.indexOf('ASYNC')).join(' '))
    for (const [index, token] of tokens.entries()) {
      if (token !== 'ASYNC') continue
      const offset = offsets[index]!
      if (isPlaced && index === tokens.indexOf('ASYNC')) {
        asyncs.push(offset)
        text = replaced(text, offset, '     ')
        parsed = replaced(parsed, offset, '     ')
      } else {
        reserved.push(offset)
        parsed = replaced(parsed, offset, RESERVED)
      }
    }
  }
  return { text, parsed, asyncs, reserved, iam, fault }
}

function replaced(text: string, offset: number, instead: string): string {
  return text.slice(0, offset) + instead + text.slice(offset + instead.length)
}

/** A reserved word of PostgreSQL's that is as long as ASYNC, and has no place within a statement: the parser reports it where it stands. */
const RESERVED = 'grant'
const PLACES: ReadonlySet<string> = new Set(['CREATE INDEX', 'CREATE UNIQUE INDEX', 'ALTER TABLE'])

function iamStatement(text: string): Node | undefined {
  const found = IAM_STATEMENT.exec(
    text.replace(QUOTES_AND_COMMENTS, (part) => (/^['"]/.test(part) ? part : ' ')),
  )
  if (found?.groups === undefined) return undefined
  const { verb = '', role = '', arn = '' } = found.groups
  return {
    isGrant: verb.toUpperCase() === 'GRANT',
    role: role.startsWith('"') ? role.slice(1, -1).replaceAll('""', '"') : role.toLowerCase(),
    arn: arn.replaceAll("''", "'"),
  }
}

const QUOTES_AND_COMMENTS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n\r]*|\/\*.*?\*\//gs

/** https://docs.aws.amazon.com/aurora-dsql/latest/userguide/using-database-and-iam-roles.html */
const IAM_STATEMENT =
  /^\s*AWS\s+IAM\s+(?<verb>GRANT(?=.*\sTO\s)|REVOKE(?=.*\sFROM\s))\s+(?<role>"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)\s+(?:TO|FROM)\s+'(?<arn>(?:[^']|'')*)'\s*$/isu

// The parse tree.

/** Calls `visit` for every node. It returns whether to visit the parts of the node. */
export function walk(value: unknown, visit: (tag: string, node: Node) => boolean): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, visit)
    return
  }
  if (typeof value !== 'object' || value === null) return
  for (const [key, part] of Object.entries(value)) {
    const isNode = typeof part === 'object' && part !== null && !Array.isArray(part)
    const tag = UNTAGGED.get(key) ?? key
    if (!isNode || !/^[A-Z]/.test(tag) || visit(tag, part as Node)) walk(part, visit)
  }
}

/** The fields of a fixed type, which have no tag in the tree. */
const UNTAGGED: ReadonlyMap<string, string> = new Map([
  ['typeName', 'TypeName'],
  ['funccall', 'FuncCall'],
])

export function someNode(root: unknown, ...tags: readonly string[]): boolean {
  let found = false
  walk(root, (tag) => {
    found ||= tags.includes(tag)
    return !found
  })
  return found
}

/** The nodes of one type in a list. */
export function nodesIn(list: unknown, tag: string): Node[] {
  if (!Array.isArray(list)) return []
  return list.flatMap((item: Node) => (item[tag] === undefined ? [] : [item[tag] as Node]))
}

export function firstEntry(node: unknown): [string, Node] {
  const [entry] = Object.entries((node ?? {}) as Node)
  return entry === undefined ? ['', {}] : [entry[0], (entry[1] ?? {}) as Node]
}

/** Fields of a fixed type have no tag in the tree. */
export function unwrapped(node: unknown, tag: string): Node {
  const fields = (node ?? {}) as Node
  return (fields[tag] ?? fields) as Node
}

/** A text of the tree, or an empty one. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function stringsOf(list: unknown): string[] {
  return nodesIn(list, 'String').map(({ sval }) => textOf(sval))
}

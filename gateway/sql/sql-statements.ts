/** Takes SQL apart as far as it takes to know what its statements begin with and which words they hold. */

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

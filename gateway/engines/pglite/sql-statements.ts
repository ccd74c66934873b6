/** Takes SQL apart as far as it takes to know what its statements begin with and which words they hold. */

export interface Statement {
  /** Words in upper case, quoted identifiers with one `"` in front, and all other characters one by one. */
  readonly tokens: readonly string[]
  readonly text: string
}

/** Empty statements are left out. Text that does not lex ends the last statement: PostgreSQL will say what is wrong. */
export function statementsOf(sql: string): Statement[] {
  const statements: Statement[] = []
  let tokens: string[] = []
  let start = 0
  const finish = (end: number): void => {
    if (tokens.length > 0) statements.push({ tokens, text: sql.slice(start, end).trim() })
    tokens = []
  }
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < sql.length) {
    const offset = TOKEN.lastIndex
    const { word, quoted, dollar, comment, other } = TOKEN.exec(sql)?.groups ?? {}
    if (word !== undefined) tokens.push(word.toUpperCase())
    else if (quoted !== undefined) tokens.push(`"${quoted.slice(1, -1).replaceAll('""', '"')}`)
    else if (dollar !== undefined) TOKEN.lastIndex = after(sql, dollar, TOKEN.lastIndex)
    else if (comment !== undefined) TOKEN.lastIndex = afterComment(sql, TOKEN.lastIndex)
    else if (other === ';') {
      finish(offset)
      start = TOKEN.lastIndex
    } else if (other !== undefined) tokens.push(other)
  }
  finish(sql.length)
  return statements
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

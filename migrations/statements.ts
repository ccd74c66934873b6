/** SQL for Aurora DSQL: what it refuses in a text, and the statements to run in its place. */
import { PgIamError } from '../core/errors.js'
import { invalidOption } from '../core/options/check.js'
import { statementsIn } from '../core/sql.js'
import { ruleOn } from '../dsql/rules.js'
import { loadSqlParser, type ParsedStatement, type SqlParser } from '../dsql/statement.js'
import {
  type Batch,
  type Finding,
  type NotNullCheck,
  type Plan,
  planOf,
  remedyFor,
} from './rewrite.js'

/** What Aurora DSQL refuses. */
export interface DsqlProblem {
  /** From 1. */
  readonly line: number
  /** In characters, from 1. */
  readonly column: number
  /** A name for this kind of problem, such as `serial`. */
  readonly rule: string
  /** What is wrong, in the words of Aurora DSQL where they are known. */
  readonly message: string
  readonly remedy: string
  /** Whether `toDsqlStatements` does what the remedy says. */
  readonly fixable: boolean
}

/**
 * How a statement runs:
 *
 * - `ddl`: in a transaction of its own. Its outcome is in the catalog.
 * - `dml`: in one transaction with the ledger.
 * - `session`: changes a setting of the session, so that it is run again when a migration is resumed.
 * - `other`: outside of a transaction block.
 */
export type StatementKind = 'ddl' | 'dml' | 'session' | 'other'

/** One statement to run on Aurora DSQL. */
export interface DsqlStatement {
  readonly sql: string
  readonly kind: StatementKind
  /** The statement that it stands for. */
  readonly source: { readonly line: number; readonly text: string }
  /** What was rewritten, and why. Absent if the statement is as it was written. */
  readonly rewritten?: string
  /** Whether it returns the ID of a job, which must be awaited. */
  readonly job?: boolean
  /** Rows to change in several transactions: one may change 3,000. */
  readonly batch?: Batch
  /** What decides, in the database, whether it has to run, and under which name of the check. */
  readonly notNull?: NotNullCheck
}

/**
 * Lists what Aurora DSQL refuses in a text of one or more statements.
 *
 * Exported from `'pg-iam/migrations'`.
 *
 * Rejects with `ERR_PEER_MISSING` if `libpg-query` is not installed.
 */
export async function lintDsql(sql: string): Promise<DsqlProblem[]> {
  const { problems } = await examine(sql)
  return problems.map(({ problem }) => problem)
}

/**
 * Returns the statements to run on Aurora DSQL in place of a text. What has an equivalent is rewritten.
 *
 * Exported from `'pg-iam/migrations'`.
 *
 * Rejects with `ERR_DSQL_STATEMENT` for what has none, which names the line, the rule and the way out, and with `ERR_PEER_MISSING` if
 * `libpg-query` is not installed.
 */
export async function toDsqlStatements(sql: string): Promise<DsqlStatement[]> {
  const { problems, statements } = await examine(sql)
  const refused = problems.find(({ problem }) => !problem.fixable)
  if (refused !== undefined) throw statementRefused(refused.problem)
  return statements
}

function statementRefused({ line, rule, message, remedy }: DsqlProblem): PgIamError {
  return new PgIamError('ERR_DSQL_STATEMENT', `line ${line}: ${message} (${rule})`, {
    hint: remedy,
  })
}

interface Examined {
  readonly problems: readonly { readonly offset: number; readonly problem: DsqlProblem }[]
  readonly statements: DsqlStatement[]
}

let parser: Promise<SqlParser> | undefined

/** The parser, loaded by the first call. A failure is not kept: the package may be installed later. */
export function sqlParser(): Promise<SqlParser> {
  parser ??= loadSqlParser().catch((error: unknown) => {
    parser = undefined
    throw error
  })
  return parser
}

async function examine(given: string): Promise<Examined> {
  if (typeof given !== 'string') throw invalidOption('sql', 'a string', given)
  const { parse } = await sqlParser()
  const { sql, originalOffset } = withQuotedAsync(given)
  const at = (offset: number): { line: number; column: number } =>
    positionIn(given, originalOffset(offset))
  const parsed = parse(sql)
  if (parsed.fault !== undefined) {
    const { message, position } = parsed.fault
    // The position is in characters, of which JavaScript has one or two.
    const offset = Array.from(sql)
      .slice(0, position - 1)
      .join('').length
    const finding = { rule: 'syntax', message, remedy: remedyFor('syntax'), fixable: false }
    return { problems: [{ offset, problem: { ...at(offset), ...finding } }], statements: [] }
  }
  const problems: { offset: number; problem: DsqlProblem }[] = []
  const statements: DsqlStatement[] = []
  for (const statement of parsed.statements) {
    const { start, end } = statement
    const text = sql.slice(start, end)
    const plan = planOf(statement, text)
    const first = statementsIn(text, 1).next().value?.offsets[0] ?? 0
    const findings = [...plan.findings, ...findingsAfter(plan, first, parse)]
    for (const { offset, rule, message, remedy, isFixable } of findings) {
      const place = start + offset
      problems.push({
        offset: place,
        problem: { ...at(place), rule, message, remedy, fixable: isFixable },
      })
    }
    const { line } = at(start + first)
    const source = { line, text: given.slice(originalOffset(start), originalOffset(end)).trim() }
    const rewritten = [...new Set(plan.reasons)].join(' ')
    for (const { sql: own, isJob, batch, notNull } of plan.steps)
      statements.push({
        sql: own,
        kind: kindOf(own, parse),
        source,
        ...(rewritten !== '' && { rewritten }),
        ...(isJob === true && { job: true }),
        ...(batch !== undefined && { batch }),
        ...(notNull !== undefined && { notNull }),
      })
  }
  const sorted = problems.toSorted((one, other) => one.offset - other.offset)
  return { problems: sorted, statements }
}

/** What the rules refuse in the rewritten statements: no planner knows about it. */
function findingsAfter(
  { findings, steps }: Plan,
  offset: number,
  parse: SqlParser['parse'],
): Finding[] {
  const findingOf = (rule: string, message: string): Finding => ({
    ...{ offset, rule, message, remedy: remedyFor(rule), isFixable: false },
  })
  if (findings.some(({ isFixable }) => !isFixable)) return []
  return steps.flatMap(({ sql }) => {
    const { fault, statements = [] } = parse(sql) as {
      fault?: { message: string }
      statements?: readonly ParsedStatement[]
    }
    if (fault !== undefined)
      return [findingOf('syntax', `the statement could not be rewritten: ${fault.message}`)]
    return statements.flatMap((statement) => {
      const { refusal, rule = 'statement' } = ruleOn(statement)
      return refusal === undefined ? [] : [findingOf(rule, refusal.message)]
    })
  })
}

/** How a statement runs. A text that cannot be parsed runs as `other`. */
function kindOf(sql: string, parse: SqlParser['parse']): StatementKind {
  const { statements: [statement] = [] } = parse(sql) as {
    statements?: readonly ParsedStatement[]
  }
  return statement === undefined ? 'other' : kindOfStatement(statement)
}

export function kindOfStatement(statement: ParsedStatement): StatementKind {
  const { tag = '' } = statement
  if (SESSION.has(tag)) return 'session'
  if (tag === 'SelectStmt' || tag === 'ExplainStmt') return 'dml'
  const { effect } = ruleOn(statement)
  if (effect === 'ddl') return 'ddl'
  return effect === 'write' || effect === 'lock' ? 'dml' : 'other'
}

const SESSION: ReadonlySet<string> = new Set([
  'VariableSetStmt',
  'VariableShowStmt',
  'DeallocateStmt',
  'DiscardStmt',
])

/** `ASYNC` is a reserved word of Aurora DSQL, and a name in PostgreSQL: as such it is quoted. */
function withQuotedAsync(sql: string): {
  sql: string
  originalOffset: (offset: number) => number
} {
  if (!/\basync\b/i.test(sql)) return { sql, originalOffset: (offset) => offset }
  const places: number[] = []
  for (const { tokens, offsets } of statementsIn(sql, Infinity)) {
    const first = tokens.indexOf('ASYNC')
    const isSyntax = OWN_PLACES.has(tokens.slice(0, first).join(' '))
    for (const [index, token] of tokens.entries())
      if (token === 'ASYNC' && !(isSyntax && index === first)) places.push(offsets[index]!)
  }
  let quoted = ''
  let done = 0
  for (const place of places) {
    quoted += `${sql.slice(done, place)}"async"`
    done = place + 'async'.length
  }
  const originalOffset = (offset: number): number => {
    const before = places.filter((place, index) => place + 2 * index < offset).length
    return offset - 2 * before
  }
  return { sql: quoted + sql.slice(done), originalOffset }
}

const OWN_PLACES: ReadonlySet<string> = new Set([
  'CREATE INDEX',
  'CREATE UNIQUE INDEX',
  'ALTER TABLE',
])

export function positionIn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split('\n')
  return { line: before.length, column: Array.from(before.at(-1)!).length + 1 }
}

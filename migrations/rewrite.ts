/**
 * Rewrites one statement for Aurora DSQL: what the parse tree says decides, and the text is changed at the places of its nodes, so that
 * names, quotes and comments stay as they were written.
 */
import { identifier, statementsIn } from '../core/sql.js'
import {
  cacheOption,
  refusedAlter,
  refusedType,
  ruleOn,
  SERIAL_TYPES,
  typeText,
} from '../dsql/rules.js'
import { isDroppableSetting, settingRefused } from '../dsql/settings.js'
import {
  firstEntry,
  type Node,
  nodesIn,
  type ParsedStatement,
  stringsOf,
  textOf,
  unwrapped,
} from '../dsql/statement.js'

/** What Aurora DSQL refuses in a statement. */
export interface Finding {
  /** Where it is in the text of the statement, in characters. */
  readonly offset: number
  readonly rule: string
  /** The service's own words, where they are known. */
  readonly message: string
  readonly remedy: string
  readonly isFixable: boolean
}

/** Rows to change in transactions of at most 3,000: the most that a transaction of Aurora DSQL may change. */
export interface Batch {
  /** The table, as SQL. */
  readonly table: string
  /** The rows to change, as SQL, such as `"c" IS NULL`. All rows if absent. */
  readonly where?: string
  /** `UPDATE t SET ...` or `DELETE FROM t`, without its WHERE. */
  readonly sql: string
}

/** One statement to run. */
export interface Step {
  readonly sql: string
  /** Whether it returns a job to wait for. */
  readonly isJob?: boolean
  readonly batch?: Batch
  readonly notNull?: NotNullCheck
}

/** Of a statement about the check in place of a column's NOT NULL. Its name is that which the column had, and it may be there already. */
export interface NotNullCheck {
  /** Quoted. */
  readonly table: string
  readonly column: string
  /** Whether it is to be added or validated, or else dropped. */
  readonly isSet: boolean
}

export interface Plan {
  readonly findings: readonly Finding[]
  /** What to run in place of the statement, if all findings are fixable. */
  readonly steps: readonly Step[]
  /** What was rewritten, for people. */
  readonly reasons: readonly string[]
}

/** The parts of a plan, as they are found. */
interface Draft {
  readonly findings: Finding[]
  readonly steps: Step[]
  readonly reasons: string[]
  readonly edits: Edit[]
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

interface Token {
  /** Words are in upper case, and quoted identifiers begin with `"`. */
  readonly value: string
  readonly start: number
  readonly end: number
}

interface Range {
  readonly start: number
  readonly end: number
}

/** The text of a statement as it was written, with its tokens, and the places of its nodes. */
interface Source {
  readonly text: string
  readonly tokens: readonly Token[]
  /** The offset in the text of a location in the parse tree. */
  at(location: unknown): number
}

/**
 * Plans what to run in place of a statement.
 *
 * @param text the statement as it was written, with the syntax of Aurora DSQL
 */
export function planOf(statement: ParsedStatement, text: string): Plan {
  const source = sourceOf(statement, text)
  const draft: Draft = { findings: [], steps: [], reasons: [], edits: [] }
  const plan = PLANNERS[statement.tag ?? '']
  plan?.(statement.node, source, draft, statement)
  // What no planner knows about is refused by the rule that the service refuses it by.
  const { refusal, rule } = ruleOn(statement)
  if (refusal !== undefined && draft.findings.length === 0)
    refuse(draft, firstOffset(source), rule ?? 'statement', refusal.message)
  const isChanged = draft.steps.length > 0 || draft.edits.length > 0
  const isLeftOut = draft.findings.length > 0 && !isChanged
  const isJob = statement.tag === 'IndexStmt' || statement.isAsync
  const whole: Step = { sql: trimmed(applied(text, draft.edits)), ...(isJob && { isJob }) }
  const steps = draft.steps.length > 0 ? draft.steps : isLeftOut ? [] : [whole]
  return { findings: draft.findings, steps, reasons: draft.reasons }
}

function sourceOf({ base }: ParsedStatement, text: string): Source {
  const isAscii = !/[^\0-\x7f]/.test(text)
  const bytes = isAscii ? undefined : Buffer.from(text)
  return {
    text,
    tokens: tokensOf(text),
    at(location) {
      const offset = Number(location ?? 0) - base
      return bytes?.toString('utf8', 0, offset).length ?? offset
    },
  }
}

function tokensOf(text: string): Token[] {
  const found: Token[] = []
  for (const { tokens, offsets } of statementsIn(text, Infinity))
    for (const [index, value] of tokens.entries()) {
      const start = offsets[index]!
      NAME.lastIndex = start
      const length = NAME.exec(text)?.[0].length ?? 1
      found.push({ value, start, end: start + length })
    }
  return found
}

const NAME = /"(?:[^"]|"")*"|[\p{L}_][\p{L}\p{N}_$]*/uy

function firstOffset({ tokens }: Source): number {
  return tokens[0]?.start ?? 0
}

// Findings.

function fix(draft: Draft, offset: number, rule: string, message: string, remedy: string): void {
  draft.findings.push({ offset, rule, message, remedy, isFixable: true })
  draft.reasons.push(remedy)
}

function refuse(
  draft: Draft,
  offset: number,
  rule: string,
  message: string,
  remedy = remedyFor(rule),
): void {
  draft.findings.push({ offset, rule, message, remedy, isFixable: false })
}

/** The way out of what cannot be rewritten. */
export function remedyFor(rule: string): string {
  return REMEDIES[rule] ?? REMEDIES['statement']!
}

const REMEDIES: Readonly<Record<string, string | undefined>> = {
  statement: 'Aurora DSQL has no such statement. Remove it, or do the same in the application.',
  syntax: 'Correct the statement. The grammar is that of PostgreSQL 16.',
  'transaction-statement':
    'Remove it: each statement of a migration runs in a transaction of its own.',
  'isolation-level': 'Remove it: Aurora DSQL has the isolation level REPEATABLE READ only.',
  setting: 'Remove the setting, or set one that Aurora DSQL has.',
  'local-setting':
    'Use SET without LOCAL: each statement runs in a transaction of its own. Settings are reset after the migration.',
  deallocate: 'Remove it, or use DEALLOCATE ALL.',
  vacuum: 'Remove VACUUM. Name a table in ANALYZE.',
  'table-clause': 'Create a plain table, and do without the clause.',
  column: 'Change the column.',
  'array-column': 'Use a table with one row for each element, or jsonb.',
  'column-type': 'Use another type, such as text or jsonb.',
  collation:
    'Remove it: Aurora DSQL has the collation "C" only. Sort in queries of the application.',
  'identity-cache': 'Use CACHE 1 for values in order, or CACHE 65536 or more for many writers.',
  deferrable: 'Remove it: only foreign keys can be deferrable.',
  'create-table-as': 'Use CREATE TABLE, and then INSERT ... SELECT of at most 3,000 rows each.',
  'alter-table': 'Create a new table, copy the rows, and rename it.',
  'column-data-type':
    'Add a column of the new type, fill it, drop the old column, and rename the new one.',
  'primary-key': 'Create a new table with the primary key, copy the rows, and rename it.',
  'added-column':
    'Add a column without it, or create a new table, copy the rows, and rename the table.',
  index: 'Change the index to a plain one.',
  'index-method': 'Use a plain index, or search in another service.',
  'operator-class':
    'Remove it: an index of Aurora DSQL has the default operator class of the type.',
  sequence: 'Use a sequence of bigint with CACHE 1 or CACHE 65536 or more.',
  enum: 'Use text with CHECK (c IN (...)), or a domain with such a check.',
  drop: 'Remove it: Aurora DSQL has no such object.',
  rename: 'Remove it: Aurora DSQL cannot rename such an object.',
  trigger: 'Do the same in the application, or use a default or a generated column.',
  function: 'Use LANGUAGE sql, or do the same in the application.',
  password: 'Remove the password: roles log in with IAM tokens. See AWS IAM GRANT.',
  copy: 'Use INSERT, or COPY FROM STDIN with a client.',
  merge: 'Use INSERT ... ON CONFLICT, UPDATE and DELETE.',
  expression: 'Rewrite the expression.',
  'row-limit': 'Split it into statements of at most 3,000 rows.',
  truncate: 'Use TRUNCATE of tables without CASCADE or RESTART IDENTITY, or DELETE.',
}

// Statements.

type Planner = (node: Node, source: Source, draft: Draft, statement: ParsedStatement) => void

const PLANNERS: Readonly<Record<string, Planner | undefined>> = {
  CreateStmt: planTable,
  IndexStmt: planIndex,
  AlterTableStmt: planAlterTable,
  CreateSeqStmt: planSequence,
  TruncateStmt: planTruncate,
  VariableSetStmt: planSetting,
  DropStmt({ concurrent }, source, draft) {
    if (concurrent !== true) return
    const word = source.tokens.find(({ value }) => value === 'CONCURRENTLY')!
    draft.edits.push({ ...word, text: '' })
    const message = 'CONCURRENTLY not supported for DROP INDEX'
    fix(draft, word.start, 'index-concurrently', message, 'Leave CONCURRENTLY out.')
  },
  InsertStmt({ selectStmt }, source, draft) {
    const { valuesLists } = unwrapped(selectStmt, 'SelectStmt')
    if (Array.isArray(valuesLists) && valuesLists.length > MAX_ROWS)
      refuse(draft, firstOffset(source), 'row-limit', 'transaction row limit exceeded')
  },
  TransactionStmt(_, source, draft) {
    const message = 'a statement of a migration cannot begin or end a transaction'
    refuse(draft, firstOffset(source), 'transaction-statement', message)
  },
  CreateEnumStmt(_, source, draft) {
    refuse(draft, firstOffset(source), 'enum', 'CREATE TYPE not supported')
  },
  CopyStmt({ is_from, filename }, source, draft) {
    if (is_from === true && filename === undefined)
      refuse(draft, firstOffset(source), 'copy', 'COPY FROM STDIN has no data in a migration')
  },
}

/** https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
export const MAX_ROWS = 3_000

function planSetting(node: Node, source: Source, draft: Draft): void {
  const { kind, is_local } = node
  const name = textOf(node['name'])
  if (name.startsWith('TRANSACTION') || name.startsWith('SESSION') || kind === 'VAR_RESET_ALL')
    return
  const [constant] = nodesIn(node['args'], 'A_Const')
  const value = kind === 'VAR_SET_VALUE' ? settingValue(constant) : undefined
  if (isDroppableSetting(name, value)) {
    const remedy = `Leave "${name}" out: it changes no result on Aurora DSQL.`
    fix(draft, firstOffset(source), 'setting', settingRefused(name), remedy)
  } else if (is_local === true && name !== 'role') {
    const message = 'SET LOCAL has no effect in a transaction of one statement'
    refuse(draft, firstOffset(source), 'local-setting', message)
  }
}

function settingValue(constant: Node | undefined): string {
  const [, value] = firstEntry(constant)
  const { sval, ival, boolval } = value as { sval?: string; ival?: number; boolval?: boolean }
  return String(sval ?? ival ?? boolval ?? '')
}

function planTruncate(node: Node, source: Source, draft: Draft): void {
  const message = 'unsupported statement: Truncate'
  if (node['restart_seqs'] === true || node['behavior'] === 'DROP_CASCADE') {
    refuse(draft, firstOffset(source), 'truncate', message)
    return
  }
  const remedy = 'Use DELETE of at most 3,000 rows a transaction.'
  fix(draft, firstOffset(source), 'truncate', message, remedy)
  for (const relation of nodesIn(node['relations'], 'RangeVar')) {
    const table = qualifiedName(relation)
    const sql = `DELETE FROM ${table}`
    draft.steps.push({ sql, batch: { table, sql } })
  }
}

function planSequence({ options }: Node, source: Source, draft: Draft): void {
  if (cacheOption(options) !== undefined || nodesIn(options, 'DefElem').some(isTypeOption)) return
  const message = 'CREATE SEQUENCE is not supported without an explicit cache size'
  fix(
    draft,
    firstOffset(source),
    'sequence-cache',
    message,
    'Add CACHE 1, the default of PostgreSQL.',
  )
  const end = contentEnd(source.text, 0, source.text.length)
  draft.edits.push({ start: end, end, text: ' CACHE 1' })
}

function isTypeOption({ defname }: Node): boolean {
  return defname === 'as'
}

// CREATE TABLE.

function planTable(node: Node, source: Source, draft: Draft): void {
  planTableOptions(node, source, draft)
  const elements = Array.isArray(node['tableElts']) ? (node['tableElts'] as Node[]) : []
  const open = source.tokens.findIndex(({ value }) => value === '(')
  if (elements.length === 0 || open === -1) return
  const ranges = partsWithin(source, open)
  for (const [index, element] of elements.entries()) {
    const [tag, part] = firstEntry(element)
    const range = ranges[index]
    if (range === undefined) continue
    if (tag === 'ColumnDef') planColumn(part, range, source, draft)
    if (tag === 'Constraint') planTableConstraint(part, source, draft)
  }
}

function planTableConstraint(constraint: Node, source: Source, draft: Draft): void {
  const { contype, deferrable, location } = constraint
  if (contype === 'CONSTR_EXCLUSION')
    refuse(draft, source.at(location), 'constraint', 'EXCLUDE not supported for CREATE TABLE')
  const isKey = contype === 'CONSTR_UNIQUE' || contype === 'CONSTR_PRIMARY'
  if (!isKey) return
  if (deferrable === true) {
    const message = 'DEFERRABLE not supported for CREATE TABLE'
    refuse(draft, source.at(location), 'deferrable', message)
  }
  if (constraint['options'] !== undefined || constraint['indexspace'] !== undefined)
    refuse(draft, source.at(location), 'index', 'options of an index are not supported')
}

/** Parameters that only tune how PostgreSQL stores and cleans a table: Aurora DSQL has nothing of that. */
const TUNING =
  /^(?:fillfactor|parallel_workers|toast_tuple_target|deduplicate_items|autovacuum_|vacuum_|log_autovacuum)/

function isTuning(options: unknown): boolean {
  return nodesIn(options, 'DefElem').every(({ defname }) => TUNING.test(textOf(defname)))
}

function planTableOptions({ options }: Node, source: Source, draft: Draft): void {
  if (options === undefined || !isTuning(options)) return
  const word = optionsOf(source)
  if (word === undefined) return
  const message = 'WITH clause not supported for CREATE TABLE'
  fix(
    draft,
    word.start,
    'storage-parameters',
    message,
    'Leave out storage parameters, which only tune PostgreSQL.',
  )
  draft.edits.push({ ...word, text: '' })
}

/** `WITH (...)` outside of parentheses. */
function optionsOf({ tokens }: Source): Range | undefined {
  let depth = 0
  for (const [index, { value, start }] of tokens.entries()) {
    if (value === '(') depth++
    if (value === ')') depth--
    if (depth !== 0 || value !== 'WITH' || tokens[index + 1]?.value !== '(') continue
    const close = closingOf(tokens, index + 1)
    return close === undefined ? undefined : { start, end: tokens[close]!.end }
  }
  return undefined
}

function planColumn(column: Node, range: Range, source: Source, draft: Draft): void {
  const { typeName, collClause, constraints } = column
  const type = unwrapped(typeName, 'TypeName')
  const typeStart = source.at(type['location'])
  const name = stringsOf(type['names']).at(-1) ?? ''
  if (SERIAL_TYPES.has(name)) {
    const message = `type "${name}" does not exist`
    const remedy = `Use bigint GENERATED BY DEFAULT AS IDENTITY (CACHE 1) in place of ${name}.`
    fix(draft, typeStart, 'serial', message, remedy)
    const text = 'bigint GENERATED BY DEFAULT AS IDENTITY (CACHE 1)'
    draft.edits.push({ ...typeRange(source, typeStart), text })
  } else planType(typeName, typeStart, draft)
  for (const constraint of nodesIn(constraints, 'Constraint')) {
    if (constraint['contype'] === 'CONSTR_IDENTITY')
      planIdentity(column, constraint, range, source, draft)
    else planTableConstraint(constraint, source, draft)
  }
  planDeferrable(constraints, source, draft)
  if (collClause !== undefined) planCollation(collClause as Node, 'CREATE TABLE', source, draft)
}

/** In columns, `DEFERRABLE` is a node that follows the one of the constraint. */
function planDeferrable(constraints: unknown, source: Source, draft: Draft): void {
  let last: unknown
  for (const { contype, location } of nodesIn(constraints, 'Constraint')) {
    if (!textOf(contype).startsWith('CONSTR_ATTR_')) last = contype
    else if (last !== 'CONSTR_FOREIGN' && contype === 'CONSTR_ATTR_DEFERRABLE')
      refuse(draft, source.at(location), 'deferrable', 'DEFERRABLE not supported for CREATE TABLE')
  }
}

function planType(typeName: unknown, offset: number, draft: Draft): void {
  const refused = refusedType(typeName)
  if (refused === undefined) return
  const isArray = unwrapped(typeName, 'TypeName')['arrayBounds'] !== undefined
  const message = typeof refused === 'string' ? refused : refused.message
  refuse(draft, offset, isArray ? 'array-column' : 'column-type', message)
}

/** One word, with its schema. */
function typeRange({ text }: Source, start: number): Range {
  const [word = ''] = /^(?:"?pg_catalog"?\s*\.\s*)?(?:"[^"]+"|\w+)/i.exec(text.slice(start)) ?? []
  return { start, end: start + word.length }
}

function planIdentity(
  { typeName }: Node,
  constraint: Node,
  range: Range,
  source: Source,
  draft: Draft,
): void {
  const typeStart = source.at(unwrapped(typeName, 'TypeName')['location'])
  const type = typeText(typeName)
  if (type === 'integer' || type === 'smallint') {
    const message = `datatype ${type} not supported, identity column type must be bigint`
    fix(draft, typeStart, 'identity-type', message, `Use bigint in place of ${type}.`)
    draft.edits.push({ ...typeRange(source, typeStart), text: 'bigint' })
  }
  const start = source.at(constraint['location'])
  planCache(constraint['options'], { start, end: range.end }, source, draft)
}

/** @param range from where `GENERATED ... AS IDENTITY` begins */
function planCache(options: unknown, range: Range, source: Source, draft: Draft): void {
  const cache = cacheOption(options)
  if (cache === 1 || (cache !== undefined && cache >= 65_536)) return
  if (cache !== undefined) {
    const message = `identity column is not supported with the cache size ${cache}`
    refuse(draft, range.start, 'identity-cache', message)
    return
  }
  const { tokens } = source
  const index = tokens.findIndex(
    ({ value, start }) => value === 'IDENTITY' && start >= range.start && start < range.end,
  )
  const next = tokens[index + 1]
  const isOpen = next?.value === '(' && next.start < range.end
  const place = isOpen ? next.end : tokens[index]!.end
  const message = 'identity column is not supported without an explicit cache size'
  fix(draft, range.start, 'identity-cache', message, 'Add CACHE 1, the default of PostgreSQL.')
  draft.edits.push({ start: place, end: place, text: isOpen ? 'CACHE 1 ' : ' (CACHE 1)' })
}

/** `COLLATE "C"` and `COLLATE "default"` are what Aurora DSQL has. */
function planCollation(clause: Node, where: string, source: Source, draft: Draft): void {
  const start = source.at(clause['location'])
  const name = stringsOf(clause['collname']).at(-1) ?? ''
  const message = `COLLATE clause not supported for ${where}`
  if (!isOwnCollation(name)) {
    refuse(draft, start, 'collation', message)
    return
  }
  fix(draft, start, 'collation', message, `Leave COLLATE "${name}" out: it is the only one.`)
  const index = source.tokens.findIndex((token) => token.start === start)
  draft.edits.push({ start, end: nameEnd(source.tokens, index + 1), text: '' })
}

function isOwnCollation(name: string): boolean {
  return ['C', 'POSIX', 'default', 'ucs_basic'].includes(name)
}

// CREATE INDEX.

/** The operator classes that an index has by default, and those that are the same with the collation "C". */
const DEFAULT_CLASSES =
  /^(?:int[248]|float[48]|numeric|text|varchar|bpchar|uuid|date|timestamp|timestamptz|time|bool|char|name|oid|(?:text|varchar|bpchar)_pattern)_ops$/

function planIndex(node: Node, source: Source, draft: Draft, { isAsync }: ParsedStatement): void {
  const { tokens } = source
  const unfixable = draft.findings.length
  const index = tokens.findIndex(({ value }) => value === 'INDEX')
  const on = tokens.findIndex(({ value }, place) => place > index && value === 'ON')
  const word = tokens[index]!
  if (node['concurrent'] === true) {
    const concurrently = tokens[index + 1]!
    const message = 'CONCURRENTLY not supported for CREATE INDEX'
    fix(
      draft,
      concurrently.start,
      'async-index',
      message,
      'Use ASYNC in place of CONCURRENTLY, and wait for the job.',
    )
    draft.edits.push({ ...concurrently, text: 'ASYNC' })
  } else if (!isAsync) {
    const message = 'unsupported mode. please use CREATE INDEX ASYNC.'
    fix(draft, word.start, 'async-index', message, 'Use CREATE INDEX ASYNC, and wait for the job.')
    draft.edits.push({ start: word.end, end: word.end, text: ' ASYNC' })
  }
  const method = textOf(node['accessMethod'])
  const open = tokens.findIndex(({ value }, place) => place > on && value === '(')
  const using = tokens.findIndex(
    ({ value }, place) => place > on && place < open && value === 'USING',
  )
  if (using !== -1) {
    const { start } = tokens[using]!
    const message = 'USING not supported for CREATE INDEX'
    if (method === 'btree') {
      fix(draft, start, 'index-method', message, 'Leave USING btree out.')
      draft.edits.push({ start, end: tokens[using + 1]!.end, text: '' })
    } else refuse(draft, start, 'index-method', message)
  }
  if (node['options'] !== undefined) {
    const options = optionsOf(source)
    const message = 'WITH clause not supported for CREATE INDEX'
    if (options !== undefined && isTuning(node['options'])) {
      fix(
        draft,
        options.start,
        'storage-parameters',
        message,
        'Leave out storage parameters, which only tune PostgreSQL.',
      )
      draft.edits.push({ ...options, text: '' })
    } else refuse(draft, word.start, 'index', message)
  }
  planKeys(nodesIn(node['indexParams'], 'IndexElem'), open, source, draft)
  const hasOnlyFixes = draft.findings.slice(unfixable).every(({ isFixable }) => isFixable)
  if (node['idxname'] !== undefined || !hasOnlyFixes) return
  const name = indexName(node)
  const place = tokens[on]!.start
  draft.edits.push({ start: place, end: place, text: `${identifier(name)} ` })
  draft.reasons.push(`The index is named ${identifier(name)}, as PostgreSQL would.`)
}

function planKeys(keys: readonly Node[], open: number, source: Source, draft: Draft): void {
  const ranges = partsWithin(source, open)
  for (const [
    index,
    { ordering, nulls_ordering, collation, opclass, opclassopts },
  ] of keys.entries()) {
    const range = ranges[index]
    if (range === undefined) continue
    const head = keyEnd(source, range)
    const isAscending = ordering === 'SORTBY_ASC'
    const own = stringsOf(collation).at(-1)
    const operators = stringsOf(opclass).at(-1)
    if (own !== undefined) {
      const message = 'COLLATE clause not supported for CREATE INDEX'
      if (isOwnCollation(own))
        fix(draft, head, 'collation', message, `Leave COLLATE "${own}" out: it is the only one.`)
      else refuse(draft, head, 'collation', message)
    }
    if (operators !== undefined) {
      const message = 'operator classes are not supported in indexes'
      if (DEFAULT_CLASSES.test(operators) && opclassopts === undefined)
        fix(
          draft,
          head,
          'operator-class',
          message,
          `Leave ${operators} out: it is what an index has.`,
        )
      else refuse(draft, head, 'operator-class', message)
    }
    if (isAscending)
      fix(
        draft,
        head,
        'index-order',
        'ASC not supported for CREATE INDEX',
        'Leave ASC out: it is the default.',
      )
    if (own === undefined && operators === undefined && !isAscending) continue
    const order = ordering === 'SORTBY_DESC' ? ' DESC' : ''
    const nulls = NULLS_ORDER[textOf(nulls_ordering)] ?? ''
    draft.edits.push({ start: head, end: range.end, text: `${order}${nulls}` })
  }
}

const NULLS_ORDER: Readonly<Record<string, string | undefined>> = {
  SORTBY_NULLS_FIRST: ' NULLS FIRST',
  SORTBY_NULLS_LAST: ' NULLS LAST',
}

/** Where a key's column or expression ends. */
function keyEnd({ tokens }: Source, range: Range): number {
  let index = tokens.findIndex(({ start }) => start >= range.start)
  if (tokens[index]?.value !== '(') {
    // A column, or the name of a function, which may be qualified.
    index++
    while (tokens[index]?.value === '.') index += 2
  }
  const next = tokens[index]
  if (next?.value !== '(' || next.start >= range.end) return tokens[index - 1]!.end
  return tokens[closingOf(tokens, index)!]!.end
}

/** As `ChooseIndexName` of PostgreSQL's indexcmds.c: the name must be known, so that a migration can find the index after it was killed. */
function indexName({ relation, indexParams }: Node): string {
  const columns: string[] = []
  for (const { name, expr } of nodesIn(indexParams, 'IndexElem')) {
    const own = textOf(name) || nameOfExpression(expr)
    let unique = own
    for (let count = 1; columns.includes(unique); count++) unique = `${own}${count}`
    columns.push(unique)
  }
  return objectName(textOf((relation as Node | undefined)?.['relname']), columns.join('_'), 'idx')
}

/** As `FigureIndexColname` of PostgreSQL's parse_target.c. */
function nameOfExpression(expression: unknown): string {
  const [tag, node] = firstEntry(expression)
  switch (tag) {
    case 'FuncCall':
      return stringsOf(node['funcname']).at(-1) ?? 'expr'
    case 'CoalesceExpr':
      return 'coalesce'
    case 'ColumnRef':
      return stringsOf(node['fields']).at(-1) ?? 'expr'
    case 'CollateClause':
      return nameOfExpression(node['arg'])
    case 'TypeCast': {
      const inner = nameOfExpression(node['arg'])
      const type = stringsOf(unwrapped(node['typeName'], 'TypeName')['names']).at(-1)
      return inner === 'expr' ? (type ?? inner) : inner
    }
    default:
      return 'expr'
  }
}

// ALTER TABLE.

function planAlterTable(
  node: Node,
  source: Source,
  draft: Draft,
  statement: ParsedStatement,
): void {
  if (node['objtype'] !== 'OBJECT_TABLE') return
  const commands = nodesIn(node['cmds'], 'AlterTableCmd')
  const head = alterHead(source)
  const ranges = partsBetween(source, head.end, source.text.length)
  if (ranges.length !== commands.length) return
  const relation = node['relation'] as Node
  const table: AlteredTable = {
    name: textOf(relation['relname']),
    sql: qualifiedName(relation),
    schema:
      relation['schemaname'] === undefined ? '' : `${identifier(textOf(relation['schemaname']))}.`,
    alter: source.text.slice(head.start, head.end),
  }
  const actions = commands.map((command, index) =>
    planAction(command, ranges[index]!, table, source, draft, statement.isAsync),
  )
  const isChanged = draft.edits.length > 0 || actions.some((steps) => steps !== undefined)
  if (!isChanged) return
  // Edits are a part of the text of an action, and make no statement of their own.
  const edits = draft.edits.splice(0)
  for (const [index, steps] of actions.entries()) {
    if (steps !== undefined) draft.steps.push(...steps)
    else
      draft.steps.push({ sql: `${table.alter} ${editedPart(source.text, ranges[index]!, edits)}` })
  }
  if (commands.length > 1) draft.reasons.push('Each action is a statement of its own.')
}

interface AlteredTable {
  readonly name: string
  /** With its schema, quoted. */
  readonly sql: string
  /** The schema with a dot, or nothing. */
  readonly schema: string
  /** The text up to the actions. */
  readonly alter: string
}

/** Resolves with the steps of an action, or `undefined` if it stays as it is, with its edits. */
function planAction(
  command: Node,
  range: Range,
  table: AlteredTable,
  source: Source,
  draft: Draft,
  isAsync: boolean,
): Step[] | undefined {
  const subtype = textOf(command['subtype'])
  const [, def] = firstEntry(command['def'])
  const { start } = range
  switch (subtype) {
    case 'AT_AddColumn':
      return planAddColumn(command, def, range, table, source, draft)
    case 'AT_AddConstraint':
      return planAddConstraint(def, range, table, source, draft)
    case 'AT_AddIdentity': {
      planCache(def['options'], range, source, draft)
      return undefined
    }
    case 'AT_ValidateConstraint': {
      if (isAsync) return undefined
      const message = 'unsupported ALTER TABLE VALIDATE CONSTRAINT statement'
      fix(
        draft,
        start,
        'validate-constraint',
        message,
        'Use ALTER TABLE ASYNC, and wait for the job.',
      )
      return [validation(table, textOf(command['name']))]
    }
    case 'AT_SetNotNull': {
      const column = textOf(command['name'])
      const message = 'unsupported ALTER TABLE ALTER COLUMN ... SET NOT NULL statement'
      const remedy = 'Use a validated CHECK (column IS NOT NULL).'
      fix(draft, start, 'not-null', message, remedy)
      const notNull = { table: table.sql, column, isSet: true }
      return notNullCheck(table, column).map((step) => ({ ...step, notNull }))
    }
    case 'AT_DropNotNull': {
      // The check that stands for NOT NULL goes, too.
      const column = textOf(command['name'])
      const remedy = `DROP NOT NULL also drops the check that stands for it.`
      draft.reasons.push(remedy)
      const check = identifier(objectName(table.name, column, 'not_null'))
      return [
        { sql: `${table.alter} ${trimmed(source.text.slice(range.start, range.end))}` },
        {
          sql: `ALTER TABLE ${table.sql} DROP CONSTRAINT IF EXISTS ${check}`,
          notNull: { table: table.sql, column, isSet: false },
        },
      ]
    }
    default: {
      const refused = refusedAlter(command, isAsync)
      if (refused === undefined) return undefined
      const rule = subtype === 'AT_AlterColumnType' ? 'column-data-type' : 'alter-table'
      refuse(draft, start, rule, typeof refused === 'string' ? refused : refused.message)
      return undefined
    }
  }
}

function validation({ sql }: AlteredTable, constraint: string): Step {
  const text = `ALTER TABLE ASYNC ${sql} VALIDATE CONSTRAINT ${identifier(constraint)}`
  return { sql: text, isJob: true }
}

function notNullCheck(table: AlteredTable, column: string): Step[] {
  const name = objectName(table.name, column, 'not_null')
  return addedLate(table, name, `CHECK (${identifier(column)} IS NOT NULL)`)
}

/** Adds a constraint NOT VALID, and validates it. */
function addedLate(table: AlteredTable, name: string, constraint: string): Step[] {
  const sql = `ALTER TABLE ${table.sql} ADD CONSTRAINT ${identifier(name)} ${constraint} NOT VALID`
  return [{ sql }, validation(table, name)]
}

/** Builds a unique index, and makes it a constraint. */
function addedUnique(table: AlteredTable, name: string, index: string): Step[] {
  const quoted = identifier(name)
  return [
    { sql: `CREATE UNIQUE INDEX ASYNC ${quoted} ON ${table.sql} ${index}`, isJob: true },
    { sql: `ALTER TABLE ${table.sql} ADD CONSTRAINT ${quoted} UNIQUE USING INDEX ${quoted}` },
  ]
}

function planAddConstraint(
  constraint: Node,
  range: Range,
  table: AlteredTable,
  source: Source,
  draft: Draft,
): Step[] | undefined {
  const { contype, skip_validation, indexname, deferrable, conname } = constraint
  const start = source.at(constraint['location'])
  const message = 'unsupported ALTER TABLE ADD CONSTRAINT statement'
  const kind = textOf(contype)
  if (kind === 'CONSTR_CHECK' || kind === 'CONSTR_FOREIGN') {
    if (skip_validation === true) return undefined
    fix(
      draft,
      start,
      'add-constraint',
      message,
      'Add the constraint NOT VALID, and validate it with ALTER TABLE ASYNC.',
    )
    const name = textOf(conname) || constraintName(table.name, constraint)
    return addedLate(table, name, constraintBody(source, start, range.end))
  }
  if (kind === 'CONSTR_UNIQUE') {
    const hasOptions = constraint['options'] !== undefined || constraint['indexspace'] !== undefined
    if (deferrable === true || hasOptions) {
      refuse(draft, start, deferrable === true ? 'deferrable' : 'index', message)
      return undefined
    }
    if (indexname !== undefined) return undefined
    fix(
      draft,
      start,
      'add-unique',
      message,
      'Create a unique index with ASYNC, and add the constraint with USING INDEX.',
    )
    const name = textOf(conname) || constraintName(table.name, constraint)
    return addedUnique(table, name, indexOf(constraint))
  }
  const rule = kind === 'CONSTR_PRIMARY' ? 'primary-key' : 'constraint'
  refuse(draft, start, rule, message, REMEDIES[rule] ?? 'Check it in the application.')
  return undefined
}

/** `(a, b) INCLUDE (c) NULLS NOT DISTINCT`, of a UNIQUE constraint. */
function indexOf(constraint: Node): string {
  const list = (names: unknown): string => `(${stringsOf(names).map(identifier).join(', ')})`
  const including = constraint['including']
  return [
    list(constraint['keys']),
    ...(including === undefined ? [] : [`INCLUDE ${list(including)}`]),
    ...(constraint['nulls_not_distinct'] === true ? ['NULLS NOT DISTINCT'] : []),
  ].join(' ')
}

/** The text of a constraint, without `CONSTRAINT name`. */
function constraintBody({ text, tokens }: Source, start: number, end: number): string {
  const index = tokens.findIndex((token) => token.start === start)
  const isNamed = tokens[index]?.value === 'CONSTRAINT'
  const from = isNamed ? tokens[index + 2]!.start : start
  return text.slice(from, contentEnd(text, from, end))
}

/** As PostgreSQL names it: it must be known, to validate the constraint. */
function constraintName(table: string, constraint: Node, column?: string): string {
  switch (constraint['contype']) {
    case 'CONSTR_FOREIGN': {
      const columns = column === undefined ? stringsOf(constraint['fk_attrs']) : [column]
      return objectName(table, columns.join('_'), 'fkey')
    }
    case 'CONSTR_UNIQUE': {
      const columns = column === undefined ? stringsOf(constraint['keys']) : [column]
      return objectName(table, columns.join('_'), 'key')
    }
    default: {
      const columns = new Set(column === undefined ? columnsIn(constraint['raw_expr']) : [column])
      const [only, ...others] = columns
      return objectName(table, others.length > 0 ? '' : (only ?? ''), 'check')
    }
  }
}

function columnsIn(expression: unknown): string[] {
  if (Array.isArray(expression)) return expression.flatMap(columnsIn)
  if (typeof expression !== 'object' || expression === null) return []
  return Object.entries(expression).flatMap(([tag, part]: [string, unknown]) =>
    tag === 'ColumnRef' ? stringsOf((part as Node)['fields']).slice(-1) : columnsIn(part),
  )
}

interface ColumnParts {
  readonly constraint: Node
  readonly range: Range
}

function planAddColumn(
  command: Node,
  column: Node,
  range: Range,
  table: AlteredTable,
  source: Source,
  draft: Draft,
): Step[] | undefined {
  const { typeName, collClause, constraints } = column
  const typeStart = source.at(unwrapped(typeName, 'TypeName')['location'])
  const name = textOf(column['colname'])
  const typeWord = stringsOf(unwrapped(typeName, 'TypeName')['names']).at(-1) ?? ''
  if (SERIAL_TYPES.has(typeWord)) {
    refuse(draft, typeStart, 'added-column', `type "${typeWord}" does not exist`, ADDED_SERIAL)
    return undefined
  }
  planType(typeName, typeStart, draft)
  const all = nodesIn(constraints, 'Constraint')
  if (collClause !== undefined) planCollation(collClause as Node, 'ALTER TABLE', source, draft)
  if (all.every(({ contype }) => contype === 'CONSTR_NULL')) return undefined
  const message = 'ALTER TABLE ADD COLUMN with constraint not supported'
  const isFixable = all.every(({ contype }) => ADDABLE.has(textOf(contype)))
  const [first] = all
  const place = source.at(first?.['location'])
  const isNull = collClause === undefined && all.every(isNullConstraint)
  if (command['missing_ok'] === true && isNull && hasNoDefault(typeName)) {
    fix(draft, place, 'added-column', message, 'Leave DEFAULT NULL out: it is what there is.')
    const plain = source.text.slice(source.at(column['location']), place)
    return [{ sql: `${table.alter} ADD COLUMN IF NOT EXISTS ${trimmed(plain)}` }]
  }
  if (!isFixable || command['missing_ok'] === true) {
    const remedy = isFixable
      ? 'Leave IF NOT EXISTS out: a migration runs once.'
      : all.some(({ contype }) => contype === 'CONSTR_IDENTITY')
        ? ADDED_SERIAL
        : REMEDIES['added-column']!
    refuse(draft, place, 'added-column', message, remedy)
    return undefined
  }
  planDeferrable(constraints, source, draft)
  fix(
    draft,
    place,
    'added-column',
    message,
    'Add the column alone, and then its default, its values and its constraints.',
  )
  const marks = [
    ...all.map(({ location }) => source.at(location)),
    ...(collClause === undefined ? [] : [source.at((collClause as Node)['location'])]),
  ].toSorted((one, other) => one - other)
  const parts = partsOfColumn(all, marks, range, source)
  const start = source.at(column['location'])
  const plain = trimmed(source.text.slice(start, marks[0]))
  return [
    { sql: `${table.alter} ADD COLUMN ${plain}` },
    ...parts.flatMap(({ constraint, range: own }) =>
      defaultSteps(constraint, own, name, table, source),
    ),
    ...parts.flatMap((part) => constraintSteps(part, name, table, source)),
  ]
}

/** Whether a constraint of a column says what is so without it, if its type has no default of its own. */
function isNullConstraint({ contype, raw_expr }: Node): boolean {
  if (contype === 'CONSTR_NULL') return true
  const [tag, constant] = contype === 'CONSTR_DEFAULT' ? firstEntry(raw_expr) : []
  return tag === 'A_Const' && constant?.['isnull'] === true
}

/** Domains have defaults. What is not here may be one. */
function hasNoDefault(typeName: unknown): boolean {
  const { names, arrayBounds } = unwrapped(typeName, 'TypeName')
  const strings = stringsOf(names)
  const isOfCatalog = strings.length === 1 || strings[0] === 'pg_catalog'
  return isOfCatalog && arrayBounds === undefined && TYPES.has(strings.at(-1) ?? '')
}

/** The types of columns of Aurora DSQL, by their names in the catalog. */
const TYPES: ReadonlySet<string> = new Set(
  (
    'bool int2 int4 int8 float4 float8 numeric bpchar varchar text uuid date time timetz timestamp timestamptz interval ' +
    'bytea json jsonb'
  ).split(' '),
)

const ADDED_SERIAL =
  'Create a sequence with CACHE 1, add a bigint column with the default nextval of it, and NOT NULL.'

const ADDABLE: ReadonlySet<string> = new Set([
  'CONSTR_NULL',
  'CONSTR_NOTNULL',
  'CONSTR_DEFAULT',
  'CONSTR_CHECK',
  'CONSTR_UNIQUE',
  'CONSTR_FOREIGN',
  'CONSTR_ATTR_DEFERRABLE',
  'CONSTR_ATTR_NOT_DEFERRABLE',
  'CONSTR_ATTR_DEFERRED',
  'CONSTR_ATTR_IMMEDIATE',
])

/** Each constraint reaches to the next one. Attributes belong to the one before. */
function partsOfColumn(
  constraints: readonly Node[],
  marks: readonly number[],
  range: Range,
  { at }: Source,
): ColumnParts[] {
  const parts: { constraint: Node; range: { start: number; end: number } }[] = []
  for (const constraint of constraints) {
    const start = at(constraint['location'])
    const end = marks.find((mark) => mark > start) ?? range.end
    const last = parts.at(-1)
    const isAttribute = textOf(constraint['contype']).startsWith('CONSTR_ATTR_')
    if (isAttribute && last !== undefined) last.range.end = end
    else parts.push({ constraint, range: { start, end } })
  }
  return parts
}

function defaultSteps(
  constraint: Node,
  range: Range,
  column: string,
  { sql: table }: AlteredTable,
  source: Source,
): Step[] {
  if (constraint['contype'] !== 'CONSTR_DEFAULT') return []
  const quoted = identifier(column)
  const body = constraintBody(source, range.start, range.end)
  const set = { sql: `ALTER TABLE ${table} ALTER COLUMN ${quoted} SET ${body}` }
  const [tag, constant] = firstEntry(constraint['raw_expr'])
  if (tag === 'A_Const' && constant['isnull'] === true) return [set]
  const sql = `UPDATE ${table} SET ${quoted} = DEFAULT`
  const where = `${quoted} IS NULL`
  return [set, { sql: `${sql} WHERE ${where}`, batch: { table, sql, where } }]
}

function constraintSteps(
  { constraint, range }: ColumnParts,
  column: string,
  table: AlteredTable,
  source: Source,
): Step[] {
  const name = textOf(constraint['conname']) || constraintName(table.name, constraint, column)
  const body = (): string => constraintBody(source, range.start, range.end)
  switch (constraint['contype']) {
    case 'CONSTR_NOTNULL':
      return notNullCheck(table, column)
    case 'CONSTR_CHECK':
      return addedLate(table, name, body())
    case 'CONSTR_FOREIGN':
      return addedLate(table, name, `FOREIGN KEY (${identifier(column)}) ${body()}`)
    case 'CONSTR_UNIQUE':
      return addedUnique(
        table,
        name,
        `(${identifier(column)})${constraint['nulls_not_distinct'] === true ? ' NULLS NOT DISTINCT' : ''}`,
      )
    default:
      return []
  }
}

/** `ALTER TABLE [IF EXISTS] [ONLY] name [*]`. */
function alterHead({ tokens }: Source): Range {
  let index = tokens.findIndex(({ value }) => value === 'TABLE') + 1
  if (tokens[index]?.value === 'ASYNC') index++
  if (tokens[index]?.value === 'IF') index += 2
  if (tokens[index]?.value === 'ONLY') index++
  const end = nameEnd(tokens, index)
  const star = tokens.find(({ start }) => start >= end)
  return { start: tokens[0]!.start, end: star?.value === '*' ? star.end : end }
}

// Names.

function qualifiedName(relation: Node): string {
  return [relation['schemaname'], relation['relname']]
    .filter((part) => part !== undefined)
    .map((part) => identifier(textOf(part)))
    .join('.')
}

/** As `makeObjectName` of PostgreSQL's indexcmds.c: the longer one of the two names is cut, so that the whole has at most 63 bytes. */
export function objectName(first: string, second: string, label: string): string {
  const names = [first, second]
  const lengthOf = (text: string): number => Buffer.byteLength(text)
  const whole = (): string => [...names, label].filter((part) => part !== '').join('_')
  while (lengthOf(whole()) > 63) {
    const index = lengthOf(names[0]!) > lengthOf(names[1]!) ? 0 : 1
    names[index] = Array.from(names[index]!).slice(0, -1).join('')
  }
  return whole()
}

// The text.

/** Where a name that may be qualified ends. */
function nameEnd(tokens: readonly Token[], index: number): number {
  let last = index
  while (tokens[last + 1]?.value === '.') last += 2
  return tokens[last]?.end ?? 0
}

function closingOf(tokens: readonly Token[], open: number): number | undefined {
  let depth = 0
  for (let index = open; index < tokens.length; index++) {
    if (tokens[index]!.value === '(') depth++
    if (tokens[index]!.value === ')' && --depth === 0) return index
  }
  return undefined
}

/** What is between commas, within the parentheses that a token opens. */
function partsWithin(source: Source, open: number): Range[] {
  const close = closingOf(source.tokens, open)
  if (close === undefined) return []
  return partsBetween(source, source.tokens[open]!.end, source.tokens[close]!.start)
}

function partsBetween({ tokens, text }: Source, start: number, end: number): Range[] {
  const parts: Range[] = []
  let from = start
  let depth = 0
  const add = (to: number): void => {
    const first = tokens.find((token) => token.start >= from)?.start ?? from
    parts.push({ start: Math.min(first, to), end: contentEnd(text, from, to) })
    from = to + 1
  }
  for (const { value, start: place } of tokens) {
    if (place < start || place >= end) continue
    if (value === '(' || value === '[') depth++
    if (value === ')' || value === ']') depth--
    if (value === ',' && depth === 0) add(place)
  }
  add(end)
  return parts
}

/** Where a part of the text ends, without the white space, comments and semicolon that follow. */
function contentEnd(text: string, start: number, end: number): number {
  let last = start
  PIECE.lastIndex = start
  while (PIECE.lastIndex < end) {
    const { 0: piece = '', groups, index = 0 } = PIECE.exec(text) ?? {}
    if (piece === '') break
    if (groups?.['blank'] === undefined) last = Math.min(index + piece.length, end)
  }
  return last
}

const PIECE =
  /(?<blank>\s+|--[^\n\r]*|\/\*[^]*?\*\/|;)|[eE]'(?:[^'\\]|''|\\[^])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[^]*?\$\2\$|[^]/gy

function trimmed(text: string): string {
  return text.slice(0, contentEnd(text, 0, text.length)).trim()
}

function applied(text: string, edits: readonly Edit[]): string {
  let changed = text
  for (const { start, end, text: instead } of edits.toSorted(
    (one, other) => other.start - one.start,
  )) {
    // What is left out leaves one blank.
    const isBlank = instead === '' && /\s$/.test(changed.slice(0, start))
    const after = isBlank ? changed.slice(end).replace(/^[^\S\n]+/, '') : changed.slice(end)
    changed = changed.slice(0, start) + instead + after
  }
  return changed
}

/** A part of the text, with the edits in it. */
function editedPart(text: string, { start, end }: Range, edits: readonly Edit[]): string {
  const own = edits
    .filter((edit) => edit.start >= start && edit.end <= end)
    .map((edit) => ({ ...edit, start: edit.start - start, end: edit.end - start }))
  return trimmed(applied(text.slice(start, end), own))
}

/** What DSQL mode does with a statement: the refusal of Aurora DSQL, or what it does otherwise than PostgreSQL. */
import { identifier, literal } from '../../core/sql.js'
import { type Effect, hasOption, ruleOn } from '../../dsql/rules.js'
import { isOwnSetting, SERVER_VERSION, SERVER_VERSION_NUM } from '../../dsql/settings.js'
import {
  type Node,
  nodesIn,
  type ParsedStatement,
  someNode,
  stringsOf,
  textOf,
  unwrapped,
  walk,
} from '../../dsql/statement.js'
import type { ServerError } from '../../wire/error-response.js'

/** What the gateway sends to the engine in place of a statement, and what it tells the client. */
export interface Verdict {
  readonly effect: Effect
  /** The error in place of the statement. */
  readonly refusal?: ServerError | undefined
  /** The text for the engine, if it differs. */
  readonly text?: string
  /** Whether the text for the engine calls functions of schema `sys`: without them, an optional one is sent as the client wrote it. */
  readonly systemCatalog?: 'required' | 'optional'
  /** The command tag for the client, if it differs from that of the engine. */
  readonly tag?: string
  /** How many rows an INSERT adds at most. `undefined` if that is not known before it runs. */
  readonly rows?: number | undefined
  /** Whether it returns rows. */
  readonly returnsRows?: boolean
  /** What is not known about the statement on Aurora DSQL. */
  readonly unknown?: string
  /** Refused within a transaction block. */
  readonly isOutsideOnly?: boolean
  /** The roles of DROP ROLE. */
  readonly droppedRoles?: readonly string[]
  /** AWS IAM GRANT or REVOKE. */
  readonly iam?: { readonly isGrant: boolean; readonly role: string; readonly arn: string }
}

const verdicts = new WeakMap<ParsedStatement, Verdict>()

/** Judges a statement by itself, without the state of its transaction. The verdict is kept with the statement. */
export function judge(statement: ParsedStatement): Verdict {
  let verdict = verdicts.get(statement)
  if (verdict === undefined) {
    verdict = verdictOn(statement)
    verdicts.set(statement, verdict)
  }
  return verdict
}

function verdictOn(statement: ParsedStatement): Verdict {
  const { tag, node } = statement
  const { effect, refusal } = ruleOn(statement)
  if (refusal !== undefined) return { effect, refusal }
  if (tag === undefined) return { effect, unknown: 'the statement was not parsed' }
  return { effect, ...behaviourOf(statement, tag, node) }
}

/** What a statement that is not refused does otherwise than in PostgreSQL. */
function behaviourOf(statement: ParsedStatement, tag: string, node: Node): Partial<Verdict> {
  const { text, isAsync } = statement
  switch (tag) {
    case 'TransactionStmt':
      return { effect: TRANSACTION_EFFECTS[textOf(node['kind'])] ?? 'other' }
    case 'VariableSetStmt': {
      const name = textOf(node['name'])
      // Accepted, and without an effect here: PostgreSQL does not have it.
      if (isOwnSetting(name))
        return { text: NOTHING, tag: node['kind'] === 'VAR_RESET' ? 'RESET' : 'SET' }
      return {}
    }
    case 'VariableShowStmt': {
      const name = textOf(node['name'])
      const value = SHOWN.get(name)
      if (value === undefined) return {}
      return { text: `SELECT ${literal(value)}::pg_catalog.text AS ${name}`, tag: 'SHOW' }
    }
    case 'SelectStmt': {
      const isLocking = someNode(node, 'LockingClause')
      const isWriting = someNode(node, 'InsertStmt', 'UpdateStmt', 'DeleteStmt')
      const effect = isWriting ? 'write' : isLocking ? 'lock' : 'other'
      const lateral = withLateralCheck(node, text)
      return { effect, returnsRows: true, ...(lateral ?? withOwnFunctions(node, statement)) }
    }
    case 'InsertStmt':
      return {
        rows: insertedRows(node),
        returnsRows: node['returningList'] !== undefined,
        ...withOwnFunctions(node, statement),
      }
    case 'ExplainStmt': {
      // Its rows do not count: its tag does not tell them.
      const isRun = hasOption(node['options'], 'analyze')
      const isWriting = someNode(node['query'], 'InsertStmt', 'UpdateStmt', 'DeleteStmt')
      return { returnsRows: true, ...(isRun && isWriting && { effect: 'write' }) }
    }
    case 'UpdateStmt':
    case 'DeleteStmt':
      return { returnsRows: node['returningList'] !== undefined }
    case 'CopyStmt':
      return node['is_from'] === true ||
        someNode(node['query'], 'InsertStmt', 'UpdateStmt', 'DeleteStmt')
        ? { effect: 'write', returnsRows: true }
        : {}
    case 'IndexStmt': {
      const name = node['if_not_exists'] === true ? textOf(node['idxname']) : ''
      return { ...asJob('INDEX_BUILD', node, text, name), tag: 'CREATE INDEX' }
    }
    case 'CreateStmt':
      // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-postgresql-compatibility-supported-data-types.html
      return withNumericScale(nodesIn(node['tableElts'], 'ColumnDef'), statement)
    case 'AlterTableStmt': {
      if (isAsync) return { ...asJob('VALIDATE_CONSTRAINT', node, text, ''), tag: 'ALTER TABLE' }
      const commands = nodesIn(node['cmds'], 'AlterTableCmd')
      const dropped = commands.filter(({ subtype }) => DROPS.has(textOf(subtype)))
      const added = commands.map(({ def }) => (def ?? {}) as Node)
      const scaled = withNumericScale(nodesIn(added, 'ColumnDef'), statement)
      return dropped.length > 0 && node['objtype'] === 'OBJECT_TABLE'
        ? withoutKeyColumns(node, dropped, scaled.text ?? text)
        : scaled
    }
    case 'DropRoleStmt':
      // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/using-database-and-iam-roles.html
      return {
        droppedRoles: nodesIn(node['roles'], 'RoleSpec').map(({ rolename }) => textOf(rolename)),
      }
    case 'CallStmt': {
      const called = stringsOf(unwrapped(node['funccall'], 'FuncCall')['funcname']).join('.')
      return { returnsRows: true, isOutsideOnly: called === 'sys.wait_for_job' }
    }
    case 'AwsIamStmt': {
      const iam = node as unknown as NonNullable<Verdict['iam']>
      const verb = iam.isGrant ? 'grant' : 'revoke'
      return {
        text: `CALL sys.iam_${verb}(${literal(iam.role)}, ${literal(iam.arn)})`,
        systemCatalog: 'required',
        tag: `AWS IAM ${verb.toUpperCase()}`,
        iam,
      }
    }
    default:
      return {}
  }
}

/** A statement that does nothing and returns nothing. */
const NOTHING = 'SET pg_iam.nothing = 0'

const TRANSACTION_EFFECTS: Readonly<Record<string, Effect | undefined>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'begin',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
}

/** Record: env_server_version, env_show_server_version_num. */
const SHOWN: ReadonlyMap<string, string> = new Map(
  Object.entries({
    server_version: SERVER_VERSION,
    server_version_num: SERVER_VERSION_NUM,
  }),
)

/** Runs the statement in a function that records it as a job, and returns its ID. */
function asJob(
  type: string,
  { relation }: Node,
  text: string,
  ifNotExists: string,
): Partial<Verdict> {
  const values = [type, text, nameOfRelation(relation), ifNotExists].map((value) => literal(value))
  return {
    returnsRows: true,
    systemCatalog: 'required',
    text: `SELECT job_id FROM sys.run_job(${values.join(', ')})`,
  }
}

const DROPS: ReadonlySet<string> = new Set(['AT_DropColumn', 'AT_DropConstraint'])

/**
 * Record: alter_drop_pk_column; live (pistachio#319): DROP CONSTRAINT of a primary key. Only the engine knows what belongs to the primary
 * key.
 */
function withoutKeyColumns(
  { relation }: Node,
  commands: readonly Node[],
  text: string,
): Partial<Verdict> {
  const namesOf = (kind: string): string => {
    const names = commands.filter(({ subtype }) => subtype === kind).map(({ name }) => textOf(name))
    return `ARRAY[${names.map((name) => literal(name)).join(', ')}]::pg_catalog.text[]`
  }
  const parts = [namesOf('AT_DropColumn'), namesOf('AT_DropConstraint')].join(', ')
  const table = literal(nameOfRelation(relation))
  return {
    systemCatalog: 'optional',
    text: `CALL sys.alter_table(${literal(text)}, ${table}, ${parts})`,
    tag: 'ALTER TABLE',
  }
}

function nameOfRelation(relation: unknown): string {
  const { schemaname, relname } = (relation ?? {}) as Node
  return [schemaname, relname]
    .filter((part) => part !== undefined)
    .map((part) => identifier(textOf(part)))
    .join('.')
}

/** The rows of VALUES. `undefined` for a query. */
function insertedRows({ selectStmt }: Node): number | undefined {
  if (selectStmt === undefined) return 1
  const { valuesLists } = unwrapped(selectStmt, 'SelectStmt')
  return valuesLists === undefined ? undefined : (valuesLists as unknown[]).length
}

/** Calls of functions that tell the version are made calls of those in schema `sys`. */
function withOwnFunctions(root: Node, statement: ParsedStatement): Partial<Verdict> {
  const places: number[] = []
  walk(root, (tag, node) => {
    const names = tag === 'FuncCall' ? stringsOf(node['funcname']) : []
    const isOwn = names.length === 1 || (names.length === 2 && names[0] === 'pg_catalog')
    if (isOwn && OWN_FUNCTIONS.has(names.at(-1)!)) places.push(Number(node['location'] ?? 0))
    return true
  })
  if (places.length === 0) return {}
  return {
    systemCatalog: 'optional',
    text: edited(statement, places, (rest) => {
      const catalog = /^"?pg_catalog"?\s*\.\s*/i.exec(rest)?.[0] ?? ''
      return { skip: catalog.length, insert: 'sys.' }
    }),
  }
}

/**
 * Changes the text at places of its parse tree.
 *
 * @param places offsets of nodes, in bytes
 * @param edit gets the text from a place on, and returns how many characters to skip, and the text to insert after them
 */
function edited(
  { text, base }: ParsedStatement,
  places: readonly number[],
  edit: (rest: string) => { skip: number; insert: string; keep?: boolean },
): string {
  const bytes = Buffer.from(text)
  let changed = ''
  let done = 0
  for (const place of places.toSorted((one, other) => one - other)) {
    const offset = place - base
    const rest = bytes.toString('utf8', offset)
    const { skip, insert, keep = false } = edit(rest)
    const skipped = rest.slice(0, skip)
    changed += bytes.toString('utf8', done, offset) + (keep ? skipped : '') + insert
    done = offset + Buffer.byteLength(skipped)
  }
  return changed + bytes.toString('utf8', done)
}

/** The offsets of columns of type numeric without a precision, which is (18,6) then. */
function plainNumerics(columns: readonly Node[]): number[] {
  return columns.flatMap((column) => {
    const { names, typmods, location } = unwrapped(column['typeName'], 'TypeName')
    const [schema, name] =
      stringsOf(names).length > 1 ? stringsOf(names) : ['', stringsOf(names)[0]]
    const isOfCatalog = schema === '' || schema === 'pg_catalog'
    const isPlain = isOfCatalog && name === 'numeric' && typmods === undefined
    return isPlain ? [Number(location ?? 0)] : []
  })
}

function withNumericScale(columns: readonly Node[], statement: ParsedStatement): Partial<Verdict> {
  const places = plainNumerics(columns)
  if (places.length === 0) return {}
  const edit = (rest: string): { skip: number; insert: string; keep: true } => {
    const [name = ''] = /^(?:"?pg_catalog"?\s*\.\s*)?(?:"numeric"|\w+)/i.exec(rest) ?? []
    return { skip: name.length, insert: '(18,6)', keep: true }
  }
  return { text: edited(statement, places, edit) }
}

/**
 * Record: q_lateral_left_outer_ref_cast. On a real cluster, a subquery in LEFT JOIN LATERAL that selects a column of the outer table fails
 * unless the column at the same place of its own table has the same type. The subquery of the record has one table.
 */
function withLateralCheck(node: Node, text: string): Partial<Verdict> | undefined {
  if (node['limitCount'] !== undefined || node['op'] !== 'SETOP_NONE') return undefined
  for (const { jointype, larg, rarg } of nodesIn(node['fromClause'], 'JoinExpr')) {
    const outer = unwrapped(larg, 'RangeVar')
    const { lateral, subquery } = unwrapped(rarg, 'RangeSubselect')
    if (jointype !== 'JOIN_LEFT' || lateral !== true || outer['relname'] === undefined) continue
    const { targetList, fromClause } = unwrapped(subquery, 'SelectStmt')
    const [own, ...others] = nodesIn(fromClause, 'RangeVar')
    if (own === undefined || others.length > 0) continue
    const alias = ((outer['alias'] ?? {}) as Node)['aliasname'] ?? outer['relname']
    const columns: string[] = []
    walk(targetList, (tag, { fields }) => {
      const [table, column] = tag === 'ColumnRef' ? stringsOf(fields) : []
      if (table === alias && column !== undefined) columns.push(column)
      return true
    })
    if (columns.length === 0) continue
    const names = [nameOfRelation(outer), nameOfRelation(own)].map((name) => literal(name))
    const list = columns.map((column) => literal(column)).join(', ')
    // LIMIT is evaluated when the statement starts, even if there are no rows. The function returns NULL: no limit.
    const check = `sys.check_lateral(${names.join(', ')}, ARRAY[${list}]::pg_catalog.text[])`
    return { systemCatalog: 'optional', text: `${text}\n LIMIT ${check}` }
  }
  return undefined
}

const OWN_FUNCTIONS: ReadonlySet<string> = new Set(['version', 'current_setting'])

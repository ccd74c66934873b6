/**
 * What a statement of DDL changes in the catalog, as text. DDL and the ledger cannot share a transaction on Aurora DSQL, so the state is
 * recorded before the statement runs: after a crash, it tells whether the statement has run.
 */
import { identifier, literal } from '../core/sql.js'
import {
  firstEntry,
  type Node,
  nodesIn,
  type ParsedStatement,
  stringsOf,
  textOf,
  unwrapped,
} from '../dsql/statement.js'

/**
 * How to find out whether a statement has run: by a query that returns the state in column `state`, or not at all because it can simply run
 * again. `undefined` if the catalog cannot tell.
 */
export type Probe = { readonly sql: string } | 'repeatable' | undefined

export function probeOf(statement: ParsedStatement): Probe {
  const { tag = '', node } = statement
  if (REPEATABLE.has(tag)) return 'repeatable'
  const states = PROBES[tag]?.(node)
  if (states === undefined || states.length === 0) return undefined
  const all = states.map((state) => `coalesce((${state}), '-')`).join(` || '; ' || `)
  return { sql: `SELECT ${all} AS state` }
}

/** Statements that have the same result when they run again. */
const REPEATABLE: ReadonlySet<string> = new Set([
  'AlterDefaultPrivilegesStmt',
  'AlterOwnerStmt',
  'AlterRoleSetStmt',
  'AlterRoleStmt',
  'AlterSystemStmt',
  'CommentStmt',
  'DropOwnedStmt',
  'GrantRoleStmt',
  'GrantStmt',
  'ReassignOwnedStmt',
  'ReindexStmt',
  'VacuumStmt',
])

/** The queries for the states of what a statement changes. */
const PROBES: Readonly<Record<string, ((node: Node) => string[] | undefined) | undefined>> = {
  CreateStmt: ({ relation }) => [relationState(nameOf(relation))],
  ViewStmt: ({ view }) => {
    const name = nameOf(view)
    return [
      `SELECT n.nspname || ' ' || pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
       ON n.oid = c.relnamespace WHERE c.oid = ${oidOf(name)}`,
    ]
  },
  CreateSeqStmt: ({ sequence }) => [relationState(nameOf(sequence))],
  AlterSeqStmt: ({ sequence }) => [
    `SELECT s::text FROM pg_catalog.pg_sequence s WHERE s.seqrelid = ${oidOf(nameOf(sequence))}`,
  ],
  IndexStmt: ({ idxname, relation }) =>
    idxname === undefined ? undefined : [indexState(nameOf(relation), textOf(idxname))],
  AlterTableStmt: alterStates,
  RenameStmt: renameStates,
  AlterObjectSchemaStmt: ({ relation, newschema }) => {
    if (relation === undefined) return undefined
    const { relname } = relation as Node
    const moved = `${identifier(textOf(newschema))}.${identifier(textOf(relname))}`
    return [relationState(nameOf(relation)), relationState(moved)]
  },
  DropStmt: dropStates,
  CreateSchemaStmt: ({ schemaname }) => [schemaState(textOf(schemaname))],
  CreateDomainStmt: ({ domainname }) => [typeState(stringsOf(domainname))],
  AlterDomainStmt: ({ typeName }) => [
    typeState(stringsOf(typeName)),
    `SELECT string_agg(c.conname || c.convalidated::text, ',' ORDER BY c.conname) FROM pg_catalog.pg_constraint c
     WHERE c.contypid = pg_catalog.to_regtype(${quotedName(stringsOf(typeName))})`,
  ],
  AlterEnumStmt: ({ typeName }) => [
    `SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
     WHERE e.enumtypid = pg_catalog.to_regtype(${quotedName(stringsOf(typeName))})`,
  ],
  CreateEnumStmt: ({ typeName }) => [typeState(stringsOf(typeName))],
  CreateFunctionStmt: ({ funcname }) => [functionState(stringsOf(funcname))],
  CreateRoleStmt: ({ role }) => [roleState(textOf(role))],
  DropRoleStmt: ({ roles }) =>
    nodesIn(roles, 'RoleSpec').map(({ rolename }) => roleState(textOf(rolename))),
  CreateExtensionStmt: ({ extname }) => [
    `SELECT extname::text FROM pg_catalog.pg_extension WHERE extname = ${literal(textOf(extname))}`,
  ],
  CreatedbStmt: ({ dbname }) => [databaseState(textOf(dbname))],
  DropdbStmt: ({ dbname }) => [databaseState(textOf(dbname))],
  CreateStatsStmt: ({ defnames }) => {
    const name = stringsOf(defnames).at(-1)
    return name === undefined ? undefined : [statisticsState(name)]
  },
  AwsIamStmt: ({ role, arn }) => [
    `SELECT pg_role_name FROM sys.iam_pg_role_mappings WHERE pg_role_name = ${literal(textOf(role))} AND arn = ${literal(textOf(arn))}`,
  ],
}

function alterStates({ relation, cmds, objtype }: Node): string[] | undefined {
  if (objtype !== 'OBJECT_TABLE') return undefined
  const table = nameOf(relation)
  const states: string[] = []
  for (const command of nodesIn(cmds, 'AlterTableCmd')) {
    const subtype = textOf(command['subtype'])
    const [, def] = firstEntry(command['def'])
    const name = textOf(command['name'])
    if (subtype === 'AT_AddColumn') states.push(columnState(table, textOf(def['colname'])))
    else if (OF_COLUMN.has(subtype)) states.push(columnState(table, name))
    else if (subtype === 'AT_AddConstraint') {
      const conname = textOf(def['conname'])
      states.push(conname === '' ? constraintsState(table) : constraintState(table, conname))
    } else if (subtype === 'AT_DropConstraint' || subtype === 'AT_ValidateConstraint')
      states.push(constraintState(table, name))
    else if (subtype === 'AT_AlterConstraint')
      states.push(constraintState(table, textOf(def['conname'])))
    else if (subtype !== 'AT_ChangeOwner' && subtype !== 'AT_SetStatistics') return undefined
  }
  // Only what can run again.
  return states.length === 0 ? [`SELECT 'repeatable'`] : states
}

const OF_COLUMN: ReadonlySet<string> = new Set([
  'AT_DropColumn',
  'AT_ColumnDefault',
  'AT_DropNotNull',
  'AT_SetNotNull',
  'AT_DropExpression',
  'AT_AddIdentity',
  'AT_SetIdentity',
  'AT_DropIdentity',
  'AT_SetStorage',
  'AT_AlterColumnType',
])

function renameStates(node: Node): string[] | undefined {
  const { renameType, relation, subname, newname, object } = node
  const [from, to] = [textOf(subname), textOf(newname)]
  const table = relation === undefined ? '' : nameOf(relation)
  switch (renameType) {
    case 'OBJECT_TABLE':
    case 'OBJECT_INDEX':
    case 'OBJECT_VIEW':
    case 'OBJECT_SEQUENCE': {
      const { schemaname } = relation as Node
      const schema = schemaname === undefined ? '' : `${identifier(textOf(schemaname))}.`
      return [relationState(table), relationState(`${schema}${identifier(to)}`)]
    }
    case 'OBJECT_COLUMN':
      return [columnState(table, from), columnState(table, to)]
    case 'OBJECT_TABCONSTRAINT':
      return [constraintState(table, from), constraintState(table, to)]
    case 'OBJECT_SCHEMA':
      return [schemaState(from), schemaState(to)]
    case 'OBJECT_ROLE':
      return [roleState(from), roleState(to)]
    case 'OBJECT_DOMAIN': {
      const names = stringsOf(unwrapped(object, 'List')['items'])
      return [typeState(names), typeState([...names.slice(0, -1), to])]
    }
    default:
      return undefined
  }
}

function dropStates({ removeType, objects }: Node): string[] | undefined {
  const all = Array.isArray(objects) ? (objects as Node[]) : []
  const states = all.map((each) => {
    const [tag, part] = firstEntry(each)
    const names = tag === 'String' ? [textOf(part['sval'])] : stringsOf(part['items'])
    switch (removeType) {
      case 'OBJECT_TABLE':
      case 'OBJECT_INDEX':
      case 'OBJECT_VIEW':
      case 'OBJECT_MATVIEW':
      case 'OBJECT_SEQUENCE':
        return relationState(names.map(identifier).join('.'))
      case 'OBJECT_SCHEMA':
        return schemaState(names.at(-1) ?? '')
      case 'OBJECT_DOMAIN':
      case 'OBJECT_TYPE':
        return typeState(stringsOf(part['names']))
      case 'OBJECT_FUNCTION':
      case 'OBJECT_ROUTINE':
        return functionState(stringsOf(part['objname']))
      case 'OBJECT_STATISTIC_EXT':
        return statisticsState(names.at(-1) ?? '')
      default:
        return undefined
    }
  })
  return states.some((state) => state === undefined) ? undefined : (states as string[])
}

// States.

/** The name of a relation, as SQL. */
export function nameOf(relation: unknown): string {
  const { schemaname, relname } = (relation ?? {}) as Node
  return [schemaname, relname]
    .filter((part) => part !== undefined)
    .map((part) => identifier(textOf(part)))
    .join('.')
}

export function oidOf(name: string): string {
  return `pg_catalog.to_regclass(${literal(name)})`
}

/** The schema, kind and columns of a relation. */
function relationState(name: string): string {
  return `SELECT n.nspname || ' ' || c.relkind::text || ' ' || coalesce((SELECT string_agg(a.attname::text, ',' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ${oidOf(name)}`
}

/** Whether an index is there. It belongs to the schema of its table. */
function indexState(table: string, name: string): string {
  return `SELECT c.relkind::text FROM pg_catalog.pg_class c WHERE c.relname = ${literal(name)}
    AND c.relnamespace = (SELECT t.relnamespace FROM pg_catalog.pg_class t WHERE t.oid = ${oidOf(table)})`
}

function columnState(table: string, column: string): string {
  return `SELECT concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attstorage,
    (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum))
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = ${oidOf(table)} AND a.attname = ${literal(column)} AND NOT a.attisdropped`
}

function constraintState(table: string, name: string): string {
  return `SELECT concat_ws(' ', c.contype, c.convalidated, c.condeferrable, c.condeferred) FROM pg_catalog.pg_constraint c
    WHERE c.conrelid = ${oidOf(table)} AND c.conname = ${literal(name)}`
}

function constraintsState(table: string): string {
  return `SELECT string_agg(c.conname::text, ',' ORDER BY c.conname) FROM pg_catalog.pg_constraint c WHERE c.conrelid = ${oidOf(table)}`
}

function schemaState(name: string): string {
  return `SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname = ${literal(name)}`
}

function roleState(name: string): string {
  return `SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ${literal(name)}`
}

function databaseState(name: string): string {
  return `SELECT datname::text FROM pg_catalog.pg_database WHERE datname = ${literal(name)}`
}

function statisticsState(name: string): string {
  return `SELECT string_agg(stxname::text, ',') FROM pg_catalog.pg_statistic_ext WHERE stxname = ${literal(name)}`
}

function quotedName(names: readonly string[]): string {
  return literal(names.map(identifier).join('.'))
}

function typeState(names: readonly string[]): string {
  return `SELECT concat_ws(' ', n.nspname, t.typname, t.typnotnull, t.typdefault) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n
    ON n.oid = t.typnamespace WHERE t.oid = pg_catalog.to_regtype(${quotedName(names)})`
}

/** All functions of that name: their arguments and bodies. */
function functionState(names: readonly string[]): string {
  const schema = names.length > 1 ? literal(names[0]!) : undefined
  const place =
    schema === undefined ? 'pg_catalog.pg_function_is_visible(p.oid)' : `n.nspname = ${schema}`
  return `SELECT string_agg(concat_ws(' ', n.nspname, pg_catalog.pg_get_function_identity_arguments(p.oid), pg_catalog.md5(p.prosrc)), ','
    ORDER BY p.oid) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = ${literal(names.at(-1) ?? '')} AND ${place}`
}

/**
 * What Aurora DSQL refuses: a table of rules on the parse tree of a statement.
 *
 * The source of each rule is `record` (the answer of a real cluster, see test/conformance), the page of AWS's user guide
 * (https://docs.aws.amazon.com/aurora-dsql/latest/userguide/PAGE.html), a report of a live cluster, or `assumed`.
 */
import { ServerError } from '../wire/error-response.js'
import { isAllowedSetting, settingRefused } from './settings.js'
import {
  firstEntry,
  type Node,
  nodesIn,
  type ParsedStatement,
  stringsOf,
  textOf,
  unwrapped,
  walk,
} from './statement.js'

/** What a statement does, for the rules of transactions. */
export type Effect =
  | 'begin'
  | 'commit'
  | 'rollback'
  | 'ddl'
  /** Changes rows. */
  | 'write'
  /** Locks rows, which takes part in conflicts. */
  | 'lock'
  | 'other'

interface Rule {
  /** What `lintDsql` calls it. */
  readonly name: string
  /** The nodes that it applies to. */
  readonly on: string | readonly string[]
  readonly source: string
  /** Returns the text of a refusal with 0A000, another error, or nothing. */
  readonly refuses: (node: Node, statement: ParsedStatement) => string | ServerError | undefined
}

/** The rules, in the order of Aurora DSQL's checks. */
const RULES: readonly Rule[] = [
  // Transactions and settings.
  {
    name: 'transaction-statement',
    on: 'TransactionStmt',
    source: 'record: savepoint; dsql-lint',
    refuses: ({ kind }) => {
      const name = REFUSED_TRANSACTION[kind as string]
      return name && `unsupported transaction statement: ${name}`
    },
  },
  {
    name: 'isolation-level',
    on: ['TransactionStmt', 'VariableSetStmt'],
    source: 'record: begin_serializable, set_transaction_serializable',
    refuses: (node) => {
      const level = isolationIn(node)
      return level === undefined || level === 'repeatable read'
        ? undefined
        : `Unsupported isolation level: ${level.toUpperCase()}`
    },
  },
  {
    name: 'setting',
    on: 'VariableSetStmt',
    source: 'record: read_only, set_transaction_repeatable_read; accessing',
    refuses: ({ kind, name, is_local }) => {
      if (kind === 'VAR_RESET_ALL') return undefined
      const setting = textOf(name)
      // The session's characteristics can only be those that it has.
      if (setting === 'SESSION CHARACTERISTICS') return undefined
      if (setting === 'role' && is_local === true) return undefined
      return isAllowedSetting(setting) ? undefined : settingRefused(setting)
    },
  },
  {
    name: 'setting',
    on: 'VariableShowStmt',
    source: 'record: env_lc_collate',
    refuses: ({ name }) =>
      ['lc_collate', 'lc_ctype'].includes(textOf(name))
        ? new ServerError('42704', `unrecognized configuration parameter "${textOf(name)}"`)
        : undefined,
  },
  {
    name: 'deallocate',
    on: 'DeallocateStmt',
    source: 'dsql-lint: DEALLOCATE [PREPARE] ALL only',
    refuses: ({ name }) => (name === undefined ? undefined : 'unsupported statement: Deallocate'),
  },
  {
    name: 'vacuum',
    on: 'VacuumStmt',
    source: 'record: vacuum, q_analyze',
    refuses: ({ is_vacuumcmd, rels }) => {
      if (is_vacuumcmd === true) return 'unsupported VACUUM statement'
      return rels === undefined ? 'unsupported ANALYZE statement' : undefined
    },
  },

  // Tables.
  {
    name: 'table-clause',
    on: 'CreateStmt',
    source: 'record: temporary_table; dsql-lint',
    refuses: (node) => {
      const { relation, partspec, partbound, inhRelations, oncommit, tablespacename } = node
      const { options, accessMethod, ofTypename } = node
      const { relpersistence } = (relation ?? {}) as Node
      const clause = (what: string): string => `${what} not supported for CREATE TABLE`
      if (relpersistence === 't') return clause('TEMPORARY or TEMP table')
      if (relpersistence === 'u') return clause('UNLOGGED')
      if (partbound !== undefined) return clause('PARTITION OF clause')
      if (inhRelations !== undefined) return clause('INHERITS clause')
      if (partspec !== undefined) return clause('PARTITION BY clause')
      if (ofTypename !== undefined) return clause('OF clause')
      if (accessMethod !== undefined) return clause('USING clause')
      if (options !== undefined && !isWithoutOids(options)) return clause('WITH clause')
      if (oncommit !== undefined && oncommit !== 'ONCOMMIT_NOOP') return clause('ON COMMIT clause')
      return tablespacename === undefined ? undefined : clause('TABLESPACE clause')
    },
  },
  {
    name: 'column',
    on: 'CreateStmt',
    source:
      'record: type_unsupported_*, serial_column, identity_*; dsql-lint: COLLATE, 255 columns',
    refuses: ({ tableElts }) => {
      const columns = nodesIn(tableElts, 'ColumnDef')
      if (columns.length > MAX_COLUMNS)
        return new ServerError('54011', `tables can have at most ${MAX_COLUMNS} columns`)
      for (const column of columns) {
        const refused = refusedColumn(column)
        if (refused !== undefined) return refused
      }
      for (const constraint of nodesIn(tableElts, 'Constraint')) {
        const refused = refusedConstraint(constraint, 'CREATE TABLE')
        if (refused !== undefined) return refused
      }
      return undefined
    },
  },
  {
    name: 'create-table-as',
    on: 'CreateTableAsStmt',
    source: 'record: create_table_as, materialized_view',
    refuses: () => 'unsupported statement: CreateTableAs',
  },
  {
    name: 'create-table-as',
    on: 'SelectStmt',
    source: 'as CREATE TABLE AS, by its other syntax',
    refuses: ({ intoClause }) =>
      intoClause === undefined ? undefined : 'unsupported statement: CreateTableAs',
  },
  {
    name: 'alter-table',
    on: 'AlterTableStmt',
    source: 'record: alter_*; alter-table-syntax-support',
    refuses: ({ cmds, objtype }, { isAsync }) => {
      if (objtype !== 'OBJECT_TABLE') return undefined
      for (const cmd of nodesIn(cmds, 'AlterTableCmd')) {
        const refused = refusedAlter(cmd, isAsync)
        if (refused !== undefined) return refused
      }
      return undefined
    },
  },

  // Indexes: the order of the checks was seen on a live cluster (ministack#1387).
  {
    name: 'index',
    on: 'IndexStmt',
    source: 'record: create_index_sync; live: order of checks',
    refuses: (node, { isAsync, text }) => {
      const { indexParams, indexIncludingParams, concurrent } = node
      const clause = (what: string): string => `${what} not supported for CREATE INDEX`
      if (concurrent === true) return clause('CONCURRENTLY')
      if (/\busing\b/i.test(headOf(text))) return clause('USING')
      if (node['options'] !== undefined) return clause('WITH clause')
      if (node['tableSpace'] !== undefined) return clause('TABLESPACE clause')
      if (!isAsync) return 'unsupported mode. please use CREATE INDEX ASYNC.'
      const keys = nodesIn(indexParams, 'IndexElem')
      if (nodesIn(indexIncludingParams, 'IndexElem').some(({ expr }) => expr !== undefined))
        return 'expressions are not supported in included columns'
      if (keys.length > MAX_KEYS) return tooManyKeys()
      return undefined
    },
  },

  // Sequences and types.
  {
    name: 'sequence',
    on: 'CreateSeqStmt',
    source: 'record: create_sequence, create_sequence_cached; dsql-lint: AS INTEGER',
    refuses: ({ options, sequence }) => {
      if (((sequence ?? {}) as Node)['relpersistence'] === 't')
        return 'TEMPORARY or TEMP sequence not supported for CREATE SEQUENCE'
      const type = typeOption(options)
      if (type !== undefined && type !== 'bigint')
        return `datatype ${type} not supported, sequence type must be bigint`
      return refusedCache(options, 'CREATE SEQUENCE')
    },
  },
  {
    name: 'sequence',
    on: 'AlterSeqStmt',
    source: 'assumed, as CREATE SEQUENCE',
    refuses: ({ options }) =>
      cacheOption(options) === undefined ? undefined : refusedCache(options, 'ALTER SEQUENCE'),
  },
  {
    name: 'column-type',
    on: 'CreateDomainStmt',
    source: 'record: domain_type; types as of columns',
    refuses: ({ typeName }) => refusedType(typeName),
  },
  {
    name: 'enum',
    on: 'CreateEnumStmt',
    source: 'record: enum_create_type',
    refuses: () => 'CREATE TYPE not supported',
  },
  {
    name: 'drop',
    on: 'DropStmt',
    source: 'dsql-lint; texts by analogy with RENAME',
    refuses: ({ removeType, concurrent }) => {
      if (concurrent === true) return 'CONCURRENTLY not supported for DROP INDEX'
      return DROPPABLE.has(textOf(removeType)) ? undefined : 'unsupported object in DROP statement'
    },
  },
  {
    name: 'rename',
    on: 'RenameStmt',
    source: 'record: enum_alter_rename; grammar of dsql-lint',
    refuses: ({ renameType }) =>
      RENAMABLE.has(textOf(renameType)) ? undefined : 'unsupported object in RENAME statement',
  },

  // Functions and other objects.
  {
    name: 'trigger',
    on: 'CreateTrigStmt',
    source: 'record: create_trigger',
    refuses: () => 'CREATE TRIGGER not supported',
  },
  {
    name: 'function',
    on: 'CreateFunctionStmt',
    source: 'record: create_function; dsql-lint: plpgsql, procedures; texts assumed',
    refuses: ({ is_procedure, options }) => {
      if (is_procedure === true) return 'CREATE PROCEDURE not supported'
      const language = stringOption(options, 'language')
      return language === undefined || language.toLowerCase() === 'sql'
        ? undefined
        : `LANGUAGE ${language} not supported for CREATE FUNCTION`
    },
  },
  {
    name: 'password',
    on: 'AlterRoleStmt',
    source: 'dsql-lint: PASSWORD; the text is assumed',
    refuses: ({ options }) =>
      stringOption(options, 'password') === undefined && !hasOption(options, 'password')
        ? undefined
        : 'PASSWORD not supported for ALTER ROLE',
  },
  {
    name: 'setting',
    on: 'AlterRoleSetStmt',
    source: 'dsql-lint: ALTER ROLE SET work_mem; accepted settings as in SET',
    refuses: ({ setstmt }) => {
      const { name } = unwrapped(setstmt, 'VariableSetStmt')
      return name === undefined || isAllowedSetting(textOf(name))
        ? undefined
        : settingRefused(textOf(name))
    },
  },
  {
    name: 'password',
    on: 'CreateRoleStmt',
    source: 'assumed, as ALTER ROLE',
    refuses: ({ options }) =>
      hasOption(options, 'password') ? 'PASSWORD not supported for CREATE ROLE' : undefined,
  },
  {
    name: 'copy',
    on: 'CopyStmt',
    source: 'dsql-lint: COPY FROM a file',
    refuses: ({ filename, is_program }) =>
      filename !== undefined || is_program === true
        ? 'COPY with a file or program not supported'
        : undefined,
  },
  {
    name: 'merge',
    on: 'MergeStmt',
    source: 'record: q_merge',
    refuses: () => 'unsupported statement type: MERGE',
  },

  // Expressions, at any depth.
  {
    name: 'expression',
    on: [
      'SelectStmt',
      'InsertStmt',
      'UpdateStmt',
      'DeleteStmt',
      'ExplainStmt',
      'ViewStmt',
      'CopyStmt',
      'CallStmt',
    ],
    source: 'record: occ_for_share, q_tablesample, q_geom_*, q_fulltext_*; live: functions',
    refuses: (node) => refusedExpression(node),
  },
]

const REFUSED_TRANSACTION: Readonly<Record<string, string | undefined>> = {
  TRANS_STMT_SAVEPOINT: 'SAVEPOINT',
  TRANS_STMT_RELEASE: 'RELEASE',
  TRANS_STMT_ROLLBACK_TO: 'ROLLBACK TO',
  TRANS_STMT_PREPARE: 'PREPARE TRANSACTION',
  TRANS_STMT_COMMIT_PREPARED: 'COMMIT PREPARED',
  TRANS_STMT_ROLLBACK_PREPARED: 'ROLLBACK PREPARED',
}

/** https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
const MAX_COLUMNS = 255
const MAX_KEYS = 8

function tooManyKeys(): ServerError {
  return new ServerError('54011', `more than ${MAX_KEYS} column keys in an index are not supported`)
}

/** The statements that Aurora DSQL has. All others are refused by the name of their node, as the record shows for a dozen of them. */
const SUPPORTED: ReadonlyMap<string, Effect> = new Map<string, Effect>([
  ...['SelectStmt', 'ExplainStmt', 'VariableSetStmt', 'VariableShowStmt', 'CallStmt'].map(
    (tag) => [tag, 'other'] as const,
  ),
  ...['ConstraintsSetStmt', 'DeallocateStmt', 'VacuumStmt'].map((tag) => [tag, 'other'] as const),
  ...['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt'].map((tag) => [tag, 'write'] as const),
  ['CopyStmt', 'other'],
  ['TransactionStmt', 'other'],
  ...[
    'CreateStmt',
    'IndexStmt',
    'AlterTableStmt',
    'RenameStmt',
    'AlterObjectSchemaStmt',
    'AlterOwnerStmt',
    'DropStmt',
    'CreateSeqStmt',
    'AlterSeqStmt',
    'CreateSchemaStmt',
    'ViewStmt',
    'CreateDomainStmt',
    'AlterDomainStmt',
    'CreateFunctionStmt',
    'CreateRoleStmt',
    'AlterRoleStmt',
    'AlterRoleSetStmt',
    'DropRoleStmt',
    'GrantStmt',
    'GrantRoleStmt',
    'AlterDefaultPrivilegesStmt',
    'CommentStmt',
    'CreateStatsStmt',
    'AlterStatsStmt',
    'DropOwnedStmt',
    'ReassignOwnedStmt',
    'AwsIamStmt',
    // Refused by rules of their own, in other words.
    'CreateTrigStmt',
    'CreateEnumStmt',
    'CreateTableAsStmt',
  ].map((tag) => [tag, 'ddl'] as const),
])

const DROPPABLE: ReadonlySet<string> = new Set(
  ['TABLE', 'INDEX', 'VIEW', 'SEQUENCE', 'SCHEMA', 'DOMAIN', 'FUNCTION', 'ROUTINE'].map(
    (kind) => `OBJECT_${kind}`,
  ),
)
  .add('OBJECT_STATISTIC_EXT')
  .add('OBJECT_TRIGGER')

const RENAMABLE: ReadonlySet<string> = new Set(
  ['TABLE', 'COLUMN', 'INDEX', 'VIEW', 'SEQUENCE', 'SCHEMA', 'DOMAIN', 'FUNCTION', 'ROLE'].map(
    (kind) => `OBJECT_${kind}`,
  ),
)
  .add('OBJECT_TABCONSTRAINT')
  .add('OBJECT_DOMCONSTRAINT')
  .add('OBJECT_STATISTIC_EXT')
  .add('OBJECT_ROUTINE')

// The parts of CREATE TABLE and ALTER TABLE.

function refusedColumn(column: Node): string | ServerError | undefined {
  const { typeName, collClause, constraints } = column
  const identity = nodesIn(constraints, 'Constraint').find(
    ({ contype }) => contype === 'CONSTR_IDENTITY',
  )
  const refused = refusedType(typeName)
  if (refused !== undefined) return refused
  if (collClause !== undefined) return 'COLLATE clause not supported for CREATE TABLE'
  if (identity !== undefined) {
    const type = typeText(typeName)
    if (type !== 'bigint')
      return `datatype ${type} not supported, identity column type must be bigint`
    const cache = refusedCache(identity['options'], 'identity column')
    if (cache !== undefined) return cache
  }
  for (const constraint of nodesIn(constraints, 'Constraint')) {
    const refusedOne = refusedConstraint(constraint, 'CREATE TABLE')
    if (refusedOne !== undefined) return refusedOne
  }
  return undefined
}

function refusedConstraint(
  { contype, deferrable, keys }: Node,
  where: string,
): string | ServerError | undefined {
  if (nodesIn(keys, 'String').length > MAX_KEYS) return tooManyKeys()
  if (contype === 'CONSTR_EXCLUSION') return `EXCLUDE not supported for ${where}`
  // Facts of a live cluster: only foreign keys are deferrable.
  const isOther = contype === 'CONSTR_UNIQUE' || contype === 'CONSTR_PRIMARY'
  return isOther && deferrable === true ? `DEFERRABLE not supported for ${where}` : undefined
}

const ALTERS: Readonly<Record<string, true | undefined>> = {
  AT_AddColumn: true,
  AT_DropColumn: true,
  AT_ColumnDefault: true,
  AT_DropNotNull: true,
  AT_DropExpression: true,
  AT_AddIdentity: true,
  AT_SetIdentity: true,
  AT_DropIdentity: true,
  AT_SetStorage: true,
  AT_AlterConstraint: true,
  AT_AddConstraint: true,
  AT_DropConstraint: true,
  AT_ChangeOwner: true,
  AT_SetStatistics: true,
  AT_EnableTrigAll: true,
  AT_DisableTrigAll: true,
  AT_EnableTrigUser: true,
  AT_DisableTrigUser: true,
}

export function refusedAlter(cmd: Node, isAsync: boolean): string | ServerError | undefined {
  const subtype = textOf(cmd['subtype'])
  const [defTag, def] = firstEntry(cmd['def'])
  if (subtype === 'AT_ValidateConstraint')
    return isAsync ? undefined : 'unsupported ALTER TABLE VALIDATE CONSTRAINT statement'
  if (isAsync) return `unsupported ALTER TABLE ASYNC ${phraseOf(subtype)} statement`
  if (subtype === 'AT_AddColumn' && defTag === 'ColumnDef') {
    const refused = refusedType(def['typeName'])
    if (refused !== undefined) return refused
    const constraints = nodesIn(def['constraints'], 'Constraint')
    if (constraints.some(({ contype }) => contype !== 'CONSTR_NULL'))
      return 'ALTER TABLE ADD COLUMN with constraint not supported'
    return def['collClause'] === undefined
      ? undefined
      : 'COLLATE clause not supported for ALTER TABLE'
  }
  if (subtype === 'AT_AddConstraint') {
    const { contype, skip_validation, indexname } = def
    const isLate = contype === 'CONSTR_CHECK' || contype === 'CONSTR_FOREIGN'
    if (isLate && skip_validation === true) return undefined
    if (contype === 'CONSTR_UNIQUE' && indexname !== undefined) return undefined
    return 'unsupported ALTER TABLE ADD CONSTRAINT statement'
  }
  if (subtype === 'AT_AddIdentity') return refusedCache(def['options'], 'identity column')
  return ALTERS[subtype] ? undefined : `unsupported ALTER TABLE ${phraseOf(subtype)} statement`
}

/** The record has `ALTER COLUMN ... SET DATA TYPE`, public reports `ENABLE ROW SECURITY` and `DROP CONSTRAINT`: names of PostgreSQL's. */
function phraseOf(subtype: string): string {
  return (
    PHRASES[subtype] ??
    subtype
      .slice(3)
      .replace(/(?<!^)([A-Z])/g, ' $1')
      .toUpperCase()
  )
}

/** `alter_table_type_to_string` of PostgreSQL's tablecmds.c has these. */
const PHRASES: Readonly<Record<string, string | undefined>> = {
  AT_AlterColumnType: 'ALTER COLUMN ... SET DATA TYPE',
  AT_SetNotNull: 'ALTER COLUMN ... SET NOT NULL',
  AT_SetCompression: 'ALTER COLUMN ... SET COMPRESSION',
  AT_SetOptions: 'ALTER COLUMN ... SET',
  AT_ResetOptions: 'ALTER COLUMN ... RESET',
  AT_ClusterOn: 'CLUSTER',
  AT_DropCluster: 'SET WITHOUT CLUSTER',
  AT_SetLogged: 'SET LOGGED',
  AT_SetUnLogged: 'SET UNLOGGED',
  AT_DropOids: 'SET WITHOUT OIDS',
  AT_SetTableSpace: 'SET TABLESPACE',
  AT_SetAccessMethod: 'SET ACCESS METHOD',
  AT_SetRelOptions: 'SET',
  AT_ResetRelOptions: 'RESET',
  AT_EnableTrigAlways: 'ENABLE ALWAYS TRIGGER',
  AT_EnableTrigReplica: 'ENABLE REPLICA TRIGGER',
  AT_EnableTrig: 'ENABLE TRIGGER',
  AT_DisableTrig: 'DISABLE TRIGGER',
  AT_EnableAlwaysRule: 'ENABLE ALWAYS RULE',
  AT_EnableReplicaRule: 'ENABLE REPLICA RULE',
  AT_AddInherit: 'INHERIT',
  AT_DropInherit: 'NO INHERIT',
  AT_AddOf: 'OF',
  AT_DropOf: 'NOT OF',
  AT_ReplicaIdentity: 'REPLICA IDENTITY',
  AT_EnableRowSecurity: 'ENABLE ROW SECURITY',
  AT_DisableRowSecurity: 'DISABLE ROW SECURITY',
  AT_ForceRowSecurity: 'FORCE ROW SECURITY',
  AT_NoForceRowSecurity: 'NO FORCE ROW SECURITY',
}

/** Record: CACHE must be given, and be 1 or at least 65,536. */
function refusedCache(options: unknown, what: string): string | undefined {
  const cache = cacheOption(options)
  if (cache === 1 || (cache !== undefined && cache >= 65_536)) return undefined
  const rule = 'please define CACHE greater than or equal to 65536 or equal to 1'
  const is = what === 'identity column' ? 'identity column is' : `${what} is`
  return cache === undefined
    ? `${is} not supported without an explicit cache size. ${rule}`
    : `${is} not supported with the cache size ${cache}. ${rule}`
}

export function cacheOption(options: unknown): number | undefined {
  const found = optionCalled(options, 'cache')
  if (found === undefined) return undefined
  const [tag, value] = firstEntry(found['arg'])
  return tag === 'Integer' ? Number(value['ival'] ?? 0) : Number(value['fval'] ?? 0)
}

function typeOption(options: unknown): string | undefined {
  const found = optionCalled(options, 'as')
  const [tag, type] = firstEntry(found?.['arg'])
  return tag === 'TypeName' ? typeText(type) : undefined
}

function stringOption(options: unknown, name: string): string | undefined {
  const [tag, value] = firstEntry(optionCalled(options, name)?.['arg'])
  return tag === 'String' ? textOf(value['sval']) : undefined
}

export function hasOption(options: unknown, name: string): boolean {
  return optionCalled(options, name) !== undefined
}

function optionCalled(options: unknown, name: string): Node | undefined {
  return nodesIn(options, 'DefElem').find(({ defname }) => defname === name)
}

function isWithoutOids(options: unknown): boolean {
  const names = nodesIn(options, 'DefElem').map(({ defname }) => defname)
  return names.length === 1 && names[0] === 'oids'
}

// Types: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-postgresql-compatibility-supported-data-types.html

/** Types of the catalog that columns cannot have, by the names that PostgreSQL's `format_type` gives. */
const REFUSED_TYPES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    bit: 'bit',
    varbit: 'bit varying',
    ...Object.fromEntries(
      [
        'money xml inet cidr macaddr macaddr8 point line lseg box path polygon circle tsvector tsquery',
        'int4range int8range numrange tsrange tstzrange daterange int4multirange int8multirange nummultirange',
        'tsmultirange tstzmultirange datemultirange pg_lsn pg_snapshot txid_snapshot jsonpath refcursor',
        'oid xid xid8 cid tid regclass regproc regprocedure regoper regoperator regtype regrole regnamespace',
        'regconfig regdictionary regcollation aclitem int2vector oidvector gtsvector',
      ]
        .join(' ')
        .split(' ')
        .map((name) => [name, name]),
    ),
  }),
)

export const SERIAL_TYPES: ReadonlySet<string> = new Set([
  'serial',
  'bigserial',
  'smallserial',
  'serial2',
  'serial4',
  'serial8',
])

/** The names of types by those of the catalog, for messages. */
const TYPE_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    int2: 'smallint',
    int4: 'integer',
    int8: 'bigint',
    float4: 'real',
    float8: 'double precision',
    bool: 'boolean',
    bpchar: 'character',
    varchar: 'character varying',
    timestamp: 'timestamp without time zone',
    timestamptz: 'timestamp with time zone',
    time: 'time without time zone',
    timetz: 'time with time zone',
  }),
)

export function typeText(typeName: unknown): string {
  const { names } = unwrapped(typeName, 'TypeName')
  const name = stringsOf(names).at(-1) ?? ''
  return REFUSED_TYPES.get(name) ?? TYPE_NAMES.get(name) ?? name
}

export function refusedType(typeName: unknown): string | ServerError | undefined {
  const { names, arrayBounds } = unwrapped(typeName, 'TypeName')
  const strings = stringsOf(names)
  const name = strings.at(-1) ?? ''
  const isOfCatalog = strings.length === 1 || strings[0] === 'pg_catalog'
  if (!isOfCatalog) return undefined
  if (SERIAL_TYPES.has(name)) return new ServerError('42704', `type "${name}" does not exist`)
  if (arrayBounds !== undefined) return `datatype ${typeText(typeName)}[] not supported`
  return REFUSED_TYPES.has(name) ? `datatype ${REFUSED_TYPES.get(name)} not supported` : undefined
}

// Expressions.

/** Types that queries cannot have either. Record: line and circle; the other geometric types are assumed. */
const GEOMETRIC: ReadonlySet<string> = new Set([
  'point',
  'line',
  'lseg',
  'box',
  'path',
  'polygon',
  'circle',
])

/** Live: golang-migrate#1289, goose#971, atlas#3539, beekeeper-studio#3224. The others of their kind are assumed. */
const REFUSED_FUNCTIONS =
  /^pg_(?:try_)?advisory_|^pg_backend_pid$|^pg_terminate_backend$|^pg_cancel_backend$|^pg_notify$|^pg_export_snapshot$/

const TEXT_SEARCH: ReadonlySet<string> = new Set([
  'to_tsvector',
  'to_tsquery',
  'plainto_tsquery',
  'phraseto_tsquery',
  'websearch_to_tsquery',
  'ts_headline',
])

function refusedExpression(root: Node): string | ServerError | undefined {
  let refused: string | ServerError | undefined
  walk(root, (tag, node) => {
    refused ??= refusedNode(tag, node)
    return refused === undefined
  })
  return refused
}

function refusedNode(tag: string, node: Node): string | ServerError | undefined {
  switch (tag) {
    case 'LockingClause': {
      const isKnown = ['LCS_FORUPDATE', 'LCS_FORKEYSHARE'].includes(textOf(node['strength']))
      return isKnown
        ? undefined
        : 'locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported'
    }
    case 'RangeTableSample':
      return 'TABLESAMPLE clause not supported'
    case 'MergeStmt':
      return 'unsupported statement type: MERGE'
    case 'CreateTableAsStmt':
      return 'unsupported statement: CreateTableAs'
    case 'TypeName': {
      const name = stringsOf(node['names']).at(-1) ?? ''
      return GEOMETRIC.has(name) ? `datatype ${name} not supported` : undefined
    }
    case 'FuncCall':
      return refusedCall(node)
    default:
      return undefined
  }
}

/** The functions and procedures of schema `sys` that clients may call. */
const OFFERED: ReadonlySet<string> = new Set(['wait_for_job', 'version', 'current_setting'])

function refusedCall({ funcname, args }: Node): string | ServerError | undefined {
  const names = stringsOf(funcname)
  // The gateway's own functions. Its statements that call them are not judged.
  if (names[0] === 'sys' && !OFFERED.has(names[1] ?? ''))
    return new ServerError('42501', `permission denied for function ${names[1]}`)
  if (names.length > 1 && names[0] !== 'pg_catalog') return undefined
  const name = names.at(-1) ?? ''
  if (REFUSED_FUNCTIONS.test(name)) return `function ${name} not supported`
  if (GEOMETRIC.has(name)) return `datatype ${name} not supported`
  const [first] = args === undefined ? [] : (args as unknown[])
  const argument = constantText(first)
  if (name === 'set_config')
    return argument !== undefined && isAllowedSetting(argument)
      ? undefined
      : settingRefused((argument ?? 'unknown').toLowerCase())
  if (!TEXT_SEARCH.has(name) || argument === undefined || (args as unknown[]).length < 2)
    return undefined
  // Only the configuration "simple" is assumed to exist.
  const config = argument.replace(/^pg_catalog\./, '')
  return config === 'simple'
    ? undefined
    : new ServerError('42704', `text search configuration "${config}" does not exist`)
}

function constantText(node: unknown): string | undefined {
  const [tag, value] = firstEntry(node)
  if (tag === 'TypeCast') return constantText(value['arg'])
  const sval = (value['sval'] ?? undefined) as Node | undefined
  return tag === 'A_Const' && sval !== undefined ? textOf(sval['sval']) : undefined
}

function isolationIn({ options, args }: Node): string | undefined {
  const items = [...nodesIn(options, 'DefElem'), ...nodesIn(args, 'DefElem')]
  for (const { defname, arg } of items) {
    if (defname !== 'transaction_isolation') continue
    const level = constantText(arg)
    // SET TRANSACTION of the only level is refused as a setting.
    if (level !== undefined) return level
  }
  return undefined
}

// The refusal of a statement.

/** What a statement does, and the error with which Aurora DSQL refuses it, if it does. */
export interface Ruling {
  readonly effect: Effect
  readonly refusal?: ServerError
  /** The rule that refuses it. */
  readonly rule?: string
}

/** Applies the rules to a statement by itself, without the state of its transaction. One that was not parsed is not refused. */
export function ruleOn(statement: ParsedStatement): Ruling {
  const { tag, node } = statement
  if (tag === undefined) return { effect: EFFECTS_OF_WORDS[statement.word] ?? 'other' }
  const effect = SUPPORTED.get(tag)
  if (effect === undefined)
    return {
      effect: 'other',
      refusal: notSupported(`unsupported statement: ${tag.replace(/Stmt$/, '')}`),
      rule: 'statement',
    }
  for (const { name, on, refuses } of RULES) {
    if (on !== tag && !(Array.isArray(on) && on.includes(tag))) continue
    const refused = refuses(node, statement)
    if (refused === undefined) continue
    const refusal = typeof refused === 'string' ? notSupported(refused) : refused
    return { effect, refusal, rule: name }
  }
  return { effect }
}

function notSupported(text: string): ServerError {
  return new ServerError('0A000', text)
}

const EFFECTS_OF_WORDS: Readonly<Record<string, Effect | undefined>> = {
  INSERT: 'write',
  UPDATE: 'write',
  DELETE: 'write',
  WITH: 'write',
  COPY: 'write',
  BEGIN: 'begin',
  START: 'begin',
  COMMIT: 'commit',
  END: 'commit',
  ROLLBACK: 'rollback',
  ABORT: 'rollback',
  CREATE: 'ddl',
  ALTER: 'ddl',
  DROP: 'ddl',
}

/** The text up to the first parenthesis. */
function headOf(text: string): string {
  const [head = ''] = text.split('(')
  return head
}

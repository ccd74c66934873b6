/** Migrates a database, on Aurora DSQL and on PostgreSQL: which migrations are to run, who runs them, and what has run. */
import { aborted, sleep as realSleep } from '../core/async.js'
import { isPgIamError, PgIamError } from '../core/errors.js'
import { type Logger, logger as loggerCheck, SILENT } from '../core/events.js'
import {
  boolean,
  type Check,
  checkClient,
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  isPlainObject,
  oneOf,
  text,
} from '../core/options/check.js'
import { literal, type Statement, statementsOf } from '../core/sql.js'
import { sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import { type RetryOptions, retryOptions } from '../core/transactions/retry.js'
import { isLoss } from '../core/transactions/transaction-connection.js'
import {
  createExecutor,
  type ExecutorOptions,
  hashOf,
  inTransaction,
  recordStart,
  type StatementProgress,
  write,
} from './executor.js'
import {
  acquireLease,
  createLedger,
  type Dialect,
  hasLedger,
  type Lease,
  type LedgerRow,
  type LedgerTables,
  locateLedger,
  type MigrationConnection,
  readRows,
  retrying,
} from './ledger.js'
import { type DsqlStatement, positionIn, toDsqlStatements } from './statements.js'

/** One migration: SQL, and the SQL that undoes it. */
export interface Migration {
  readonly name: string
  readonly up: string
  readonly down?: string
}

/** A connection that can be given back. A client of `pg.Pool` fits. */
export interface PooledConnection extends MigrationConnection {
  /** @param destroy whether the connection is lost, and must not be used again */
  release(destroy?: boolean): void
}

export interface MigratorOptions {
  /** A pool of pg. */
  pool?: { connect(): Promise<PooledConnection> }
  /** Opens a connection, in place of `pool`. */
  connect?: () => Promise<PooledConnection>
  /** They run in this order. */
  migrations: readonly Migration[]
  /** Default: what the server is. */
  dialect?: Dialect
  /** The schema of the ledger. Default: the first one of the search path. */
  schema?: string
  /** The table of the ledger. Default `pg_iam_migrations`. */
  table?: string
  /** Reports what would run, and changes nothing. Default `false`. */
  dryRun?: boolean
  /** How long a deployer that died keeps others waiting, in milliseconds, from 1,000 to 3,600,000. Default 60,000. */
  leaseMs?: number
  /** How long to wait for another deployer, in milliseconds, from 0 to 86,400,000. Default 600,000. */
  waitMs?: number
  /** How often a statement is tried again after a conflict. */
  retry?: RetryOptions
  /** Stops before the next statement. */
  signal?: AbortSignal
  logger?: Logger
  onProgress?: (progress: MigrationProgress) => void
  /** The time in milliseconds. Default `Date.now`. */
  clock?: () => number
  /** Must reject when the signal aborts. Default: Node's timers. */
  sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>
}

/** What happens while migrating. */
export type MigrationProgress =
  | { readonly type: 'lease'; readonly holder: string }
  | {
      readonly type: 'migration'
      readonly name: string
      readonly direction: 'up' | 'down'
      readonly state: 'started' | 'done'
    }
  | ({
      readonly type: 'statement'
      readonly name: string
      readonly total: number
    } & StatementProgress)
  | { readonly type: 'reconnect'; readonly error: unknown }

/** A migration, and what the ledger knows about it. */
export interface MigrationStatus {
  readonly name: string
  /**
   * - `pending`: has not run
   * - `started`: broke half-way; `up` resumes it
   * - `applied`
   * - `reverting`: its `down` broke half-way; `down` resumes it
   * - `changed`: was applied, and its text differs now
   * - `missing`: was applied, and is not among the migrations
   */
  readonly state: 'pending' | 'started' | 'applied' | 'reverting' | 'changed' | 'missing'
  readonly appliedAt?: Date
  /** For a migration that broke half-way: the statements that have run. */
  readonly statementsDone?: number
  /** A statement of which it is not recorded whether it has run. */
  readonly interrupted?: string
}

/** A migration that ran, or would run in a dry run. */
export interface MigrationRun {
  readonly name: string
  readonly statements: readonly DsqlStatement[]
}

export interface Migrator {
  /** What the ledger knows. Changes nothing. */
  status(): Promise<MigrationStatus[]>
  /** Runs what is pending, up to and including `to`. Resolves with what ran. */
  up(options?: { to?: string }): Promise<MigrationRun[]>
  /** Undoes the last migrations. Default: one step. */
  down(options?: { steps?: number }): Promise<MigrationRun[]>
  /** Records a person's decision about the statement of a migration that was interrupted. */
  resolve(name: string, outcome: 'done' | 'not-done'): Promise<void>
}

interface Settings {
  readonly connect: () => Promise<PooledConnection>
  readonly migrations: readonly Migration[]
  readonly dialect: Dialect | undefined
  readonly schema: string | undefined
  readonly table: string | undefined
  readonly dryRun: boolean
  readonly leaseMs: number
  readonly waitMs: number
  readonly retry: RetryOptions
  readonly signal: AbortSignal | undefined
  readonly logger: Logger
  readonly onProgress: (progress: MigrationProgress) => void
  readonly clock: () => number
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
}

/**
 * Creates a migrator. It connects when one of its functions is called, and holds no connection afterwards.
 *
 * Exported from `'pg-iam/migrations'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`
 */
export function createMigrator(options: MigratorOptions): Migrator {
  const settings = settingsOf(options)
  return {
    status: () => withConnection(settings, (connection) => readStatus(connection, settings)),
    async up(given = {}) {
      const { to } = checkOptions(given, { to: text })
      if (to !== undefined && !settings.migrations.some(({ name }) => name === to))
        throw invalidOption('to', 'the name of a migration', to)
      return migrate(settings, 'up', (status) => pendingOf(status, settings, to))
    },
    async down(given = {}) {
      const { steps = 1 } = checkOptions(given, { steps: integerWithin(1, 100_000, 'steps') })
      return migrate(settings, 'down', (status) => revertedOf(status, settings, steps))
    },
    async resolve(name, outcome) {
      text(name, 'name')
      oneOf('done', 'not-done')(outcome, 'outcome')
      await withConnection(settings, (connection) =>
        resolveRow(connection, settings, name, outcome),
      )
    },
  }
}

// Options.

const signalCheck: Check<AbortSignal> = (value, name) => {
  if (!(value instanceof AbortSignal)) throw invalidOption(name, 'an AbortSignal', value)
  return value
}

const poolCheck: Check<NonNullable<MigratorOptions['pool']>> = (value, name) => {
  checkClient(value, name, ['connect'], 'a Pool of pg')
  return value as NonNullable<MigratorOptions['pool']>
}

const migrationsCheck: Check<readonly Migration[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array of migrations', value)
  const seen = new Set<string>()
  for (const [index, each] of (value as unknown[]).entries()) {
    const place = `${name}[${index}]`
    if (!isPlainObject(each)) throw invalidOption(place, 'an object with name and up', each)
    const own = checkOptions(each, { name: text, up: sqlText, down: sqlText }, `${place}.`)
    if (own.name === undefined) throw invalidOption(`${place}.name`, 'a text', own.name)
    if (own.up === undefined) throw invalidOption(`${place}.up`, 'SQL', own.up)
    if (seen.has(own.name)) throw invalidOption(`${place}.name`, 'given once', own.name)
    seen.add(own.name)
  }
  return value as Migration[]
}

const sqlText: Check<string> = (value, name) => {
  if (typeof value !== 'string') throw invalidOption(name, 'SQL', value)
  return value
}

const CHECKS = {
  pool: poolCheck,
  connect: functionOf<() => Promise<PooledConnection>>(),
  migrations: migrationsCheck,
  dialect: oneOf('aurora-dsql', 'postgres'),
  schema: text,
  table: text,
  dryRun: boolean,
  leaseMs: integerWithin(1_000, 3_600_000, 'milliseconds'),
  waitMs: integerWithin(0, 86_400_000, 'milliseconds'),
  retry: retryOptions,
  signal: signalCheck,
  logger: loggerCheck,
  onProgress: functionOf<(progress: MigrationProgress) => void>(),
  clock: functionOf<() => number>(),
  sleep: functionOf<(ms: number, signal: AbortSignal | undefined) => Promise<void>>(),
}

function settingsOf(options: MigratorOptions): Settings {
  const given = checkOptions(options, CHECKS)
  const { pool, connect, migrations, signal, dialect, schema, table } = given
  if ((pool === undefined) === (connect === undefined))
    throw new PgIamError('ERR_OPTION_CONFLICT', 'either "pool" or "connect" must be given')
  if (migrations === undefined)
    throw invalidOption('migrations', 'an array of migrations', undefined)
  return {
    connect: connect ?? (() => pool!.connect()),
    migrations,
    dialect,
    schema,
    table,
    signal,
    dryRun: given.dryRun ?? false,
    leaseMs: given.leaseMs ?? 60_000,
    waitMs: given.waitMs ?? 600_000,
    retry: { ...given.retry, ...(signal !== undefined && { signal }) },
    logger: given.logger ?? SILENT,
    onProgress: given.onProgress ?? (() => {}),
    clock: given.clock ?? Date.now,
    sleep: given.sleep ?? realSleep,
  }
}

async function withConnection<T>(
  { connect, retry }: Settings,
  work: (connection: MigrationConnection) => Promise<T>,
): Promise<T> {
  const connection = await connect()
  let isLost = false
  try {
    return await work(retrying(connection, retry))
  } catch (error) {
    isLost = isLoss(error, undefined)
    throw error
  } finally {
    connection.release(isLost)
  }
}

// What the ledger knows.

/** The scope of the statements that undo a migration. */
function downOf(name: string): string {
  return `${name} (down)`
}

async function readStatus(
  connection: MigrationConnection,
  settings: Settings,
): Promise<MigrationStatus[]> {
  const tables = await locateLedger(connection, settings)
  const rows = (await hasLedger(connection, tables)) ? await readRows(connection, tables) : []
  return statusOf(rows, settings.migrations)
}

function statusOf(rows: readonly LedgerRow[], migrations: readonly Migration[]): MigrationStatus[] {
  const byScope = new Map<string, LedgerRow[]>()
  for (const row of rows) byScope.set(row.scope, [...(byScope.get(row.scope) ?? []), row])
  const status = migrations.map(({ name, up }) => statusOfOne(name, hashOf(up), byScope))
  const known = new Set(migrations.flatMap(({ name }) => [name, downOf(name)]))
  const missing = [...byScope.keys()]
    .filter((scope) => !known.has(scope) && byScope.get(scope)?.[0]?.position === 0)
    .map((name): MigrationStatus => ({ name, state: 'missing' }))
  return [...status, ...missing]
}

function statusOfOne(
  name: string,
  hash: string,
  byScope: ReadonlyMap<string, readonly LedgerRow[]>,
): MigrationStatus {
  const headOf = (scope: string): LedgerRow | undefined =>
    byScope.get(scope)?.find(({ position }) => position === 0)
  const halfWay = (scope: string): Partial<MigrationStatus> => {
    const own = (byScope.get(scope) ?? []).filter(({ position }) => position > 0)
    const interrupted = own.find(({ state }) => state === 'started')
    return {
      statementsDone: own.filter(({ state }) => state === 'done').length,
      ...(interrupted !== undefined && { interrupted: interrupted.statement }),
    }
  }
  const head = headOf(name)
  const down = downOf(name)
  if (headOf(down) !== undefined) return { name, state: 'reverting', ...halfWay(down) }
  if (head === undefined) return { name, state: 'pending' }
  if (head.state === 'started') return { name, state: 'started', ...halfWay(name) }
  return {
    name,
    state: head.hash === hash ? 'applied' : 'changed',
    ...(head.finishedAt !== undefined && { appliedAt: head.finishedAt }),
  }
}

/** What is to run. Refuses a ledger that does not fit the migrations. */
function pendingOf(
  status: readonly MigrationStatus[],
  { migrations }: Settings,
  to: string | undefined,
): Planned[] {
  checkStatus(status)
  const states = new Map(status.map(({ name, state }) => [name, state]))
  const last =
    to === undefined ? migrations.length : migrations.findIndex(({ name }) => name === to) + 1
  return migrations
    .slice(0, last)
    .filter(({ name }) => states.get(name) !== 'applied')
    .map(({ name, up }) => ({ name, scope: name, sql: up }))
}

function revertedOf(
  status: readonly MigrationStatus[],
  { migrations }: Settings,
  steps: number,
): Planned[] {
  const others = status.filter(({ state }) => state !== 'reverting')
  checkStatus(others)
  const broken = others.find(({ state }) => state === 'started')
  if (broken !== undefined)
    throw new PgIamError(
      'ERR_MIGRATION_STATE',
      `the migration "${broken.name}" broke half-way, and cannot be undone before it is complete`,
      { hint: 'Correct it, and run pg-iam migrate up.' },
    )
  const states = new Map(status.map(({ name, state }) => [name, state]))
  return migrations
    .filter(({ name }) => ['applied', 'reverting'].includes(states.get(name) ?? ''))
    .toReversed()
    .slice(0, steps)
    .map(({ name, down }) => {
      if (down === undefined)
        throw new PgIamError('ERR_MIGRATION_STATE', `the migration "${name}" has no "down"`, {
          hint: 'Write a new migration that undoes it.',
        })
      return { name, scope: downOf(name), sql: down }
    })
}

function checkStatus(status: readonly MigrationStatus[]): void {
  for (const { name, state } of status) {
    if (state === 'changed')
      throw new PgIamError(
        'ERR_MIGRATION_STATE',
        `the migration "${name}" has changed since it ran`,
        {
          hint: 'Restore the file to what it was, and put the change into a new migration.',
        },
      )
    if (state === 'missing')
      throw new PgIamError(
        'ERR_MIGRATION_STATE',
        `the migration "${name}" has run, and is missing`,
        {
          hint: 'Restore the file, or migrate with the newer version of the application.',
        },
      )
    if (state === 'reverting')
      throw new PgIamError(
        'ERR_MIGRATION_STATE',
        `the migration "${name}" was not completely undone`,
        {
          hint: 'Run pg-iam migrate down, which goes on.',
        },
      )
  }
}

/** What is to run of a migration. */
interface Planned {
  readonly name: string
  readonly scope: string
  readonly sql: string
}

// Migrating.

interface Prepared extends Planned {
  readonly hash: string
  readonly statements: readonly DsqlStatement[]
}

async function migrate(
  settings: Settings,
  direction: 'up' | 'down',
  plan: (status: readonly MigrationStatus[]) => Planned[],
): Promise<MigrationRun[]> {
  if (settings.dryRun)
    return withConnection(settings, async (connection) => {
      const { dialect } = await locateLedger(connection, settings)
      const planned = plan(await readStatus(connection, settings))
      const prepared = await Promise.all(planned.map((each) => prepare(each, dialect)))
      return prepared.map(({ name, statements }) => ({ name, statements }))
    })
  const session = await openSession(settings)
  try {
    const planned = plan(await session.run((connection) => readStatus(connection, settings)))
    // All of them, before the first one runs: what Aurora DSQL refuses is refused before anything changes.
    const prepared = await Promise.all(planned.map((each) => prepare(each, session.tables.dialect)))
    const done: MigrationRun[] = []
    for (const each of prepared) {
      const { name, statements } = each
      settings.onProgress({ type: 'migration', name, direction, state: 'started' })
      await session.run((connection) => runOne(connection, each, session, settings))
      if (direction === 'down')
        await session.run((connection) => forgetMigration(connection, name, session, settings))
      settings.onProgress({ type: 'migration', name, direction, state: 'done' })
      settings.logger.info(`migrations: ${direction === 'up' ? 'applied' : 'undid'} ${name}`)
      done.push({ name, statements })
    }
    return done
  } finally {
    await session.close()
  }
}

async function prepare(planned: Planned, dialect: Dialect): Promise<Prepared> {
  const { name, sql } = planned
  const hash = hashOf(sql)
  if (dialect === 'postgres') return { ...planned, hash, statements: plainStatements(sql) }
  try {
    return { ...planned, hash, statements: await toDsqlStatements(sql) }
  } catch (error) {
    if (!isPgIamError(error, 'ERR_DSQL_STATEMENT')) throw error
    const { message, hint } = error
    throw new PgIamError('ERR_DSQL_STATEMENT', `the migration "${name}", ${message}`, {
      cause: error,
      ...(hint !== undefined && { hint }),
    })
  }
}

/** A lease, and the connection on which it migrates. */
interface Session {
  readonly tables: LedgerTables
  readonly lease: Lease
  /**
   * Runs `work`, and runs it again on a new connection when its own was lost: what has run is in the ledger. Rejects with the loss when
   * that happens repeatedly.
   */
  run<T>(work: (connection: MigrationConnection) => Promise<T>): Promise<T>
  /** Tells that so many statements of the migration have run. */
  reached(position: number): void
  close(): Promise<void>
}

/** How often a connection may be lost in a row, without a statement that has run in between. */
const MAX_LOSSES = 5

async function openSession(settings: Settings): Promise<Session> {
  const { connect, retry, onProgress, signal, sleep } = settings
  let connection = await connect()
  let retried = retrying(connection, retry)
  const own = (): MigrationConnection => retried
  let tables: LedgerTables
  let lease: Lease
  try {
    tables = await locateLedger(own(), settings)
    await createLedger(own(), tables)
    lease = await acquireLease(own(), tables, {
      ...settings,
      waiting: (holder) => onProgress({ type: 'lease', holder }),
    })
  } catch (error) {
    connection.release(isLoss(error, undefined))
    throw error
  }
  let isLost = false
  let furthest = 0
  const beat = startHeartbeat(settings, lease)
  return {
    tables,
    lease,
    async run(work) {
      furthest = 0
      let seen = 0
      for (let losses = 0; ; losses++) {
        if (signal?.aborted === true) throw aborted(signal)
        try {
          if (isLost) {
            connection = await connect()
            retried = retrying(connection, retry)
            isLost = false
            await lease.renew(own())
          }
          return await beat.during(work(own()))
        } catch (error) {
          if (!isLoss(error, undefined)) throw error
          if (!isLost) connection.release(true)
          isLost = true
          if (furthest > seen) losses = 0
          seen = furthest
          if (losses >= MAX_LOSSES) throw error
          onProgress({ type: 'reconnect', error })
          await sleep(Math.min(100 * 2 ** losses, 2_000), signal)
        }
      }
    },
    reached(position) {
      furthest = Math.max(furthest, position)
    },
    async close() {
      await beat.close()
      if (isLost) return
      let isBroken = false
      try {
        await lease.release(own())
      } catch {
        // It expires by itself.
        isBroken = true
      }
      connection.release(isBroken)
    },
  }
}

/**
 * Renews the lease on a connection of its own while a statement takes longer than a third of the lease: the connection that migrates is
 * busy. It is opened for the first such statement.
 */
function startHeartbeat(
  { connect, leaseMs, sleep }: Settings,
  lease: Lease,
): { during<T>(work: Promise<T>): Promise<T>; close(): Promise<void> } {
  let own: PooledConnection | undefined
  const beats = async (stop: AbortSignal): Promise<void> => {
    for (;;) {
      await sleep(leaseMs / 3, stop)
      if (stop.aborted) return
      try {
        own ??= await connect()
        await lease.renew(own)
      } catch (error) {
        own?.release(true)
        own = undefined
        // The deployer notices before its next write.
        if (isPgIamError(error, 'ERR_MIGRATION_LEASE')) return
      }
    }
  }
  let beating: Promise<void> = Promise.resolve()
  return {
    async during(work) {
      const stop = new AbortController()
      beating = beats(stop.signal).catch(() => {})
      try {
        return await work
      } finally {
        stop.abort()
        await beating
      }
    },
    async close() {
      await beating
      own?.release()
    },
  }
}

async function runOne(
  connection: MigrationConnection,
  prepared: Prepared,
  { tables, lease, reached }: Session,
  settings: Settings,
): Promise<void> {
  const { name, scope, hash, statements, sql } = prepared
  const { retry, sleep, signal, onProgress } = settings
  const own = { connection, tables, lease, scope, retry }
  const isAtomic = tables.dialect === 'postgres' && runsInTransaction(sql)
  if (isAtomic) {
    await runAtomically(prepared, own)
    return
  }
  const [head] = await readRows(connection, tables, `scope = ${literal(scope)} AND position = 0`)
  if (head?.state === 'done') return
  if (head === undefined || head.hash !== hash) await recordStart(own, hash)
  const executor = await createExecutor({
    ...own,
    sleep,
    signal,
    progress(event) {
      if (event.state === 'done' || event.state === 'recorded') reached(event.position)
      onProgress({ type: 'statement', name, total: statements.length, ...event })
    },
  })
  let hasSettings = false
  for (const statement of statements) {
    if (signal?.aborted === true) throw aborted(signal)
    hasSettings ||= statement.kind === 'session'
    await executor.run(statement)
  }
  if (hasSettings) await connection.query('RESET ALL')
  await executor.finish(hash)
}

/** The rows of a migration that was undone, in transactions of at most 3,000. Its first row goes last. */
async function forgetMigration(
  connection: MigrationConnection,
  name: string,
  { tables, lease }: Session,
  { retry }: Settings,
): Promise<void> {
  const remove = (where: string): Promise<void> =>
    inTransaction({ connection, retry }, async () => {
      await lease.check(connection)
      await connection.query(`DELETE FROM ${tables.rows} WHERE ${where}`)
    })
  for (const scope of [name, downOf(name)]) {
    const rows = await readRows(connection, tables, `scope = ${literal(scope)} AND position > 0`)
    for (let last = rows.at(-1)?.position ?? 0; last > 0; last -= MAX_DELETED)
      await remove(`scope = ${literal(scope)} AND position > ${Math.max(last - MAX_DELETED, 0)}`)
  }
  await remove(`scope IN (${literal(name)}, ${literal(downOf(name))}) AND position = 0`)
}

const MAX_DELETED = 2_500

async function resolveRow(
  connection: MigrationConnection,
  settings: Settings,
  name: string,
  outcome: 'done' | 'not-done',
): Promise<void> {
  const tables = await locateLedger(connection, settings)
  const where = `scope IN (${literal(name)}, ${literal(downOf(name))}) AND position > 0 AND state = 'started'`
  const rows = (await hasLedger(connection, tables))
    ? await readRows(connection, tables, where)
    : []
  if (rows.length === 0)
    throw new PgIamError(
      'ERR_MIGRATION_STATE',
      `the migration "${name}" has no statement to decide about`,
      {
        hint: 'See pg-iam migrate status.',
      },
    )
  const sql =
    outcome === 'done'
      ? `UPDATE ${tables.rows} SET state = 'done', finished_at = now() WHERE ${where}`
      : `DELETE FROM ${tables.rows} WHERE ${where}`
  const lease = await acquireLease(connection, tables, {
    ...settings,
    waiting: (holder) => settings.onProgress({ type: 'lease', holder }),
  })
  try {
    await inTransaction({ connection, retry: settings.retry }, async () => {
      await lease.check(connection)
      await connection.query(sql)
    })
  } finally {
    await lease.release(connection)
  }
}

// PostgreSQL: a migration is one transaction, if it can be.

/** Statements that PostgreSQL refuses in a transaction block. */
const ALONE =
  /^(?:CREATE (?:UNIQUE )?INDEX CONCURRENTLY|DROP INDEX CONCURRENTLY|REINDEX .*CONCURRENTLY|VACUUM|CREATE DATABASE|DROP DATABASE|CREATE TABLESPACE|DROP TABLESPACE|ALTER SYSTEM|CLUSTER$|DISCARD ALL)\b/

const NO_TRANSACTION = /^\s*--\s*pg-iam:\s*no-transaction\s*$/im

function runsInTransaction(sql: string): boolean {
  if (NO_TRANSACTION.test(sql)) return false
  return !statementsOf(sql).some(({ tokens }) => ALONE.test(tokens.slice(0, 12).join(' ')))
}

/** The statements of a text, split by a lexer. */
function plainStatements(sql: string): DsqlStatement[] {
  return joined(statementsOf(sql)).map(({ start, end, word, offset }) => {
    const own = sql.slice(start, end).trim()
    const { line } = positionIn(sql, offset)
    const kind = SESSION_WORDS.has(word) ? 'session' : DML_WORDS.has(word) ? 'dml' : 'ddl'
    return { sql: own, kind, source: { line, text: own } }
  })
}

const SESSION_WORDS: ReadonlySet<string> = new Set(['SET', 'RESET', 'SHOW', 'DISCARD'])
const DML_WORDS: ReadonlySet<string> = new Set([
  'SELECT',
  'INSERT',
  'UPDATE',
  'DELETE',
  'MERGE',
  'WITH',
  'TABLE',
  'VALUES',
])

interface Piece {
  readonly start: number
  end: number
  readonly word: string
  readonly offset: number
}

/** The body of a function with BEGIN ATOMIC contains semicolons, and ends with a statement END. */
function joined(statements: readonly Statement[]): Piece[] {
  const pieces: Piece[] = []
  let isOpen = false
  for (const { tokens, offsets, start, end } of statements) {
    const last = pieces.at(-1)
    if (isOpen && last !== undefined) last.end = end
    else pieces.push({ start, end, word: tokens[0] ?? '', offset: offsets[0] ?? start })
    if (isOpen) isOpen = tokens[0] !== 'END'
    else {
      const begin = tokens.indexOf('ATOMIC')
      isOpen = begin > 0 && tokens[begin - 1] === 'BEGIN' && tokens[0] === 'CREATE'
    }
  }
  return pieces
}

type Atomic = Pick<ExecutorOptions, 'connection' | 'lease' | 'scope' | 'retry'> & {
  readonly tables: LedgerTables
}

async function runAtomically(prepared: Prepared, own: Atomic): Promise<void> {
  const { connection, tables, lease, scope } = own
  const { hash, statements } = prepared
  const [head] = await readRows(connection, tables, `scope = ${literal(scope)} AND position = 0`)
  if (head?.state === 'done') return
  checkNoTransactions(prepared)
  await inTransaction(own, async () => {
    // Before its statements: nobody can take the lease over until they have ended.
    await lease.check(connection)
    for (const [index, statement] of statements.entries()) {
      try {
        await connection.query(statement.sql)
      } catch (error) {
        throw failedOnPostgres(error, prepared, index)
      }
    }
    await write(own, { scope, position: 0, hash, state: 'done', statement: '', before: undefined })
  })
  if (statements.some(({ kind }) => kind === 'session')) await connection.query('RESET ALL')
}

/** A statement that ends the transaction would take the ledger out of it. */
function checkNoTransactions({ name, statements }: Prepared): void {
  for (const { sql, source } of statements) {
    const [first] = statementsOf(sql)
    const [word = '', next] = first?.tokens ?? []
    const isOwn = ['COMMIT', 'END', 'ABORT', 'BEGIN', 'START'].includes(word)
    if (!isOwn && !(word === 'ROLLBACK' && next !== 'TO')) continue
    throw new PgIamError(
      'ERR_MIGRATION_FAILED',
      `the migration "${name}" has ${word} in line ${source.line}, and runs in a transaction already`,
      { hint: 'Remove it. A line "-- pg-iam: no-transaction" runs each statement by itself.' },
    )
  }
}

function failedOnPostgres(error: unknown, { name, statements }: Prepared, index: number): unknown {
  if (isLoss(error, undefined) || sqlStateOf(error) === '40001') return error
  const { message, hint } = error as { message: string; hint?: unknown }
  const { source } = statements[index]!
  return new PgIamError(
    'ERR_MIGRATION_FAILED',
    `the migration "${name}" failed at statement ${index + 1} (line ${source.line}): ${message}`,
    { cause: error, ...(typeof hint === 'string' && hint !== '' && { hint }) },
  )
}

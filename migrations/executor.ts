/**
 * Runs the statements of one migration, each once: the ledger says which have run, and the catalog decides about the one during which a
 * process died. An ORM that starts a migration over passes its statements again, in the same order.
 */
import { createHash } from 'node:crypto'
import { isPgIamError, PgIamError } from '../core/errors.js'
import { identifier, literal } from '../core/sql.js'
import { isOccConflict, sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import { attempts, type RetryOptions } from '../core/transactions/retry.js'
import { isLoss } from '../core/transactions/transaction-connection.js'
import { nodesIn, type ParsedStatement } from '../dsql/statement.js'
import { nameOf, oidOf, type Probe, probeOf } from './catalog.js'
import {
  leaseLost,
  type Lease,
  type LedgerRow,
  type LedgerTables,
  type MigrationConnection,
  readRows,
  retrying,
  textOf,
  writeRow,
} from './ledger.js'
import { type Batch, MAX_ROWS } from './rewrite.js'
import { type DsqlStatement, sqlParser, toDsqlStatements } from './statements.js'

export interface ExecutorOptions {
  readonly connection: MigrationConnection
  /** `undefined`: nothing is recorded. */
  readonly tables: LedgerTables | undefined
  readonly lease: Lease
  /** The name of the migration, under which its statements are in the ledger. */
  readonly scope: string
  readonly retry: RetryOptions
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  readonly signal: AbortSignal | undefined
  readonly progress: (event: StatementProgress) => void
}

/** What happens to a statement. */
export interface StatementProgress {
  /** From 1. */
  readonly position: number
  readonly statement: DsqlStatement
  /** `recorded`: it has run before. `waiting`: for its job. `rows`: of a batch. */
  readonly state: 'started' | 'recorded' | 'waiting' | 'rows' | 'done'
  readonly job?: { readonly id: string; readonly status: string }
  /** The rows that a batch has changed so far. */
  readonly rows?: number
}

type Rows = readonly Record<string, unknown>[]

export interface StatementExecutor {
  /**
   * Runs the next statement, unless it has run. Resolves with its rows; with none if it has run before.
   *
   * Rejects with `ERR_MIGRATION_FAILED`, `ERR_MIGRATION_STATE` and `ERR_MIGRATION_LEASE`, and with the error of a lost connection, unchanged:
   * a new executor goes on.
   */
  run(statement: DsqlStatement): Promise<Rows>
  /** Records that the migration is complete. */
  finish(hash: string): Promise<void>
}

/** Reads what the ledger has about a migration, and returns the executor for its statements. */
export async function createExecutor(given: ExecutorOptions): Promise<StatementExecutor> {
  const options = { ...given, connection: retrying(given.connection, given.retry) }
  const { connection, tables, scope, lease, progress } = options
  const recorded =
    tables === undefined ? [] : await readRows(connection, tables, `scope = ${literal(scope)}`)
  const rows = new Map(recorded.map((row) => [row.position, row]))
  let position = 0
  const executor: StatementExecutor = {
    async run(statement) {
      position++
      const own = { ...options, position, statement }
      const row = rows.get(position)
      if (statement.kind === 'session') return runSession(own)
      const hash = hashOf(statement.sql)
      if (row?.state === 'done') {
        if (row.hash !== hash) throw statementChanged(own)
        progress({ position, statement, state: 'recorded' })
        return []
      }
      if (row !== undefined && row.hash !== hash) throw startedChanged(own)
      await lease.renewIfDue(connection)
      progress({ position, statement, state: 'started' })
      const result = await runStatement(own, hash, row)
      progress({ position, statement, state: 'done' })
      return result
    },
    async finish(hash) {
      const beyond = recorded.find((row) => row.position > position && row.state === 'done')
      if (beyond !== undefined)
        throw new PgIamError(
          'ERR_MIGRATION_STATE',
          `the migration "${scope}" has ${position} statements, and statement ${beyond.position} of it has run before`,
          { hint: 'Restore the file to what it was, or undo by hand what has run.' },
        )
      const done = {
        scope,
        position: 0,
        hash,
        state: 'done',
        statement: '',
        before: undefined,
      } as const
      await record(options, done)
    },
  }
  return executor
}

/** Records that a migration has begun, with the hash of its text. */
export async function recordStart(
  options: Writing & { readonly scope: string },
  hash: string,
): Promise<void> {
  const { scope } = options
  const row = {
    scope,
    position: 0,
    hash,
    state: 'started',
    statement: '',
    before: undefined,
  } as const
  await record(options, row)
}

// A migration that is a program, of which only its statements are known: that of an ORM.

export interface ProgramOptions extends Omit<ExecutorOptions, 'tables'> {
  readonly tables: LedgerTables
  /** Whether the program may omit statements of an earlier run: it has read from the database, as in `if (!hasTable) createTable`. */
  readonly mayOmit: () => boolean
  /** Whether several connections are open, so that the order of statements may differ. */
  readonly isConcurrent: () => boolean
}

export interface ProgramExecutor {
  /** Runs what Aurora DSQL has in place of one statement of the program, unless it has run. Rejects as `StatementExecutor.run`. */
  run(steps: readonly DsqlStatement[]): Promise<void>
  /**
   * Must be called before the program notes that the migration is applied, or undone. Completes what an earlier run has begun and this one has
   * left out. Rejects with `ERR_MIGRATION_STATE` if what has run does not belong to the migration.
   */
  complete(isUndone: boolean): Promise<void>
  /** Must be called when another deployer may have held the lease. */
  reload(): void
}

/** The end of the name under which the ledger has the statements of a program whose steps have not all run. */
export const BEGUN = ': begun'

/**
 * A program is started over after an error, and its statements are found in the ledger by their text. One that has read nothing sends the same
 * statements again: another one means that the program was changed.
 */
export function createProgramExecutor(given: ProgramOptions): ProgramExecutor {
  const options = { ...given, connection: retrying(given.connection, given.retry), isProgram: true }
  const { connection, tables, scope, lease, progress, mayOmit, isConcurrent } = options
  /** The positions of this run. */
  const seen = new Set<number>()
  /** What earlier runs have recorded, and this one has not sent yet. */
  let left = new Map<number, LedgerRow>()
  let begun: LedgerRow[] = []
  let last = 0
  let isStale = true
  /** Whether a statement has run that no earlier run has: what those have recorded may no longer be true. */
  let hasDiverged = false

  const load = async (): Promise<void> => {
    if (!isStale) return
    const names = [scope, scope + BEGUN].map(literal).join(', ')
    const rows = await readRows(connection, tables, `scope IN (${names})`)
    const own = rows.filter((row) => row.scope === scope && !seen.has(row.position))
    left = new Map(own.map((row) => [row.position, row]))
    begun = rows.filter((row) => row.scope !== scope)
    last = Math.max(last, ...rows.map(({ position }) => position))
    isStale = false
  }

  const find = (hash: string): LedgerRow | undefined =>
    [...left.values()].find((row) => row.hash === hash)

  /** Throws if a program that has read nothing sends another statement than before. */
  const refuseChange = (statement: DsqlStatement): void => {
    const next = [...left.values()].find(({ state }) => state !== 'failed')
    const isExpected = next === undefined || find(hashOf(statement.sql)) !== undefined
    if (isExpected || mayOmit() || isConcurrent()) return
    throw programChanged({ ...options, position: next.position, statement }, next)
  }

  const runStep = async (statement: DsqlStatement): Promise<void> => {
    const running = (position: number): Running => ({ ...options, position, statement })
    if (statement.kind === 'session') {
      await runSession(running(last))
      return
    }
    const hash = hashOf(statement.sql)
    let row = find(hash)
    if (row === undefined) hasDiverged ||= left.size > 0
    // Whether it fails again decides the program, which may catch the error.
    const hasFailed = row?.state === 'failed'
    const position = row?.position ?? ++last
    const own = running(position)
    left.delete(position)
    seen.add(position)
    try {
      const isOutdated = row?.state === 'done' && hasDiverged && !(await isStillTrue(own, row))
      if (hasFailed || isOutdated) row = undefined
      if (row?.state === 'done') {
        progress({ position, statement, state: 'recorded' })
        return
      }
      await lease.renewIfDue(connection)
      progress({ position, statement, state: 'started' })
      await runStatement(own, hash, row)
      progress({ position, statement, state: 'done' })
    } catch (error) {
      // Whether it has run is in the ledger, or can be found out from there.
      seen.delete(position)
      isStale = true
      throw error
    }
  }

  const runSteps = async (steps: readonly DsqlStatement[]): Promise<void> => {
    const [{ source }] = steps as [DsqlStatement]
    const hash = hashOf(source.text)
    const known = begun.find((row) => row.hash === hash)
    const own = { scope: scope + BEGUN, position: known?.position ?? last + 1, hash }
    const isBegun = known !== undefined || steps.length > 1
    if (isBegun && known === undefined)
      await record(options, {
        ...own,
        state: 'started',
        statement: source.text,
        before: source.text,
      })
    for (const step of steps) await runStep(step)
    if (!isBegun) return
    begun = begun.filter((row) => row !== known)
    await forget({ ...options, ...own })
  }

  /** Runs the steps that are left of other statements than the one with this hash. */
  const finishOthers = async (current: string | undefined): Promise<void> => {
    for (const { before: text = '' } of begun.filter(({ hash }) => hash !== current)) {
      try {
        await runSteps(await toDsqlStatements(text))
      } catch (error) {
        throw isPgIamError(error, 'ERR_MIGRATION_FAILED') ? notFinished(error, options) : error
      }
    }
  }

  return {
    async run(steps) {
      await load()
      const [first] = steps as [DsqlStatement]
      refuseChange(first)
      if (find(hashOf(first.sql)) === undefined) await finishOthers(hashOf(first.source.text))
      await runSteps(steps)
    },
    async complete(isUndone) {
      await load()
      await finishOthers(undefined)
      const done = [...left.values()].filter(({ state }) => state === 'done')
      const other = isUndone
        ? done.find(({ statement }) => CREATION.test(statement))
        : done.find(() => !mayOmit())
      if (other !== undefined) throw notSent(options, other)
    },
    reload() {
      isStale = true
    },
  }
}

const CREATION = /^\s*(?:create\b|alter\s+table\b.*\badd\b)/is

/** Whether the catalog is still as it was after the statement. Without a way to tell, the ledger counts. */
async function isStillTrue(
  { connection, statement }: Running,
  { before: after }: LedgerRow,
): Promise<boolean> {
  const parsed = await parsedOf(statement.sql)
  const probe = parsed === undefined ? undefined : probeOf(parsed)
  if (probe === undefined || probe === 'repeatable' || after === undefined) return true
  return (await stateOf(connection, probe)) === after
}

export function hashOf(sql: string): string {
  return createHash('sha256').update(sql.replaceAll('\r\n', '\n').trim()).digest('hex')
}

// One statement.

interface Running extends ExecutorOptions {
  readonly isProgram?: boolean
  readonly position: number
  readonly statement: DsqlStatement
}

async function runStatement(
  running: Running,
  hash: string,
  row: LedgerRow | undefined,
): Promise<Rows> {
  const { statement } = running
  try {
    if (statement.batch !== undefined) return await runBatch(running, statement.batch, hash)
    if (statement.kind === 'dml') return await runInTransaction(running, hash)
    return await runAlone(running, hash, row)
  } catch (error) {
    // Another deployer may have run the same statement: that this one has lost the lease says more than its error.
    if (!isLoss(error, undefined)) await running.lease.renew(running.connection)
    throw failureOf(error, running)
  }
}

async function runSession({ connection, statement, scope, ...running }: Running): Promise<Rows> {
  try {
    return (await connection.query(statement.sql)).rows
  } catch (error) {
    throw failureOf(error, { connection, statement, scope, ...running })
  }
}

/** Changes of rows and their row in the ledger are one transaction. */
async function runInTransaction(running: Running, hash: string): Promise<Rows> {
  const { connection, statement } = running
  return inTransaction(running, async () => {
    const { rows } = await connection.query(statement.sql)
    await write(running, rowOf(running, hash, 'done'))
    return rows
  })
}

/** DDL runs alone: that it is to run is recorded before, with the state of the catalog. */
async function runAlone(running: Running, hash: string, row: LedgerRow | undefined): Promise<Rows> {
  const { connection, statement } = running
  const parsed = await parsedOf(statement.sql)
  const probe = parsed === undefined ? undefined : probeOf(parsed)
  let hasRun = row === undefined ? false : await hasChanged(running, probe, row)
  if (hasRun && parsed !== undefined && (await dropFailedIndex(running, parsed))) hasRun = false
  let result: Rows = []
  const texts = hasRun ? [] : await textsOf(running)
  if (texts.length > 0) {
    if (row === undefined) {
      const before = await stateOf(connection, probe)
      await record(running, rowOf(running, hash, 'started', before))
    }
    try {
      for (const text of texts) result = (await connection.query(text)).rows
    } catch (error) {
      // It is certain that it has not run: the statement may be corrected, and run again.
      if (!isLoss(error, undefined)) {
        if (running.isProgram === true) await record(running, rowOf(running, hash, 'failed'))
        else await forget(running)
      }
      throw error
    }
  }
  const job = textOf(result[0]?.['job_id'])
  const isNeeded = hasRun || texts.length > 0
  if (statement.job === true && parsed !== undefined && isNeeded)
    await awaitOutcome(running, parsed, job === '' ? undefined : job)
  // For a program that does not send the same statements again.
  const after = running.isProgram === true ? await stateOf(connection, probe) : undefined
  await record(running, rowOf(running, hash, 'done', after))
  return result
}

/**
 * What to run for a statement. `SET NOT NULL` succeeds where the column is NOT NULL, and `DROP NOT NULL` where it is not. In place of it
 * there is a check, with the name that the column had then.
 */
async function textsOf({ connection, statement }: Running): Promise<readonly string[]> {
  const { notNull, sql, job } = statement
  if (notNull === undefined) return [sql]
  const { table, column, isSet } = notNull
  const { rows } = await connection.query(
    `SELECT a.attnotnull::text AS "isNotNull", c.conname AS name, c.convalidated::text AS "isValid" FROM pg_catalog.pg_attribute a
     LEFT JOIN pg_catalog.pg_constraint c ON c.conrelid = a.attrelid AND c.contype = 'c' AND c.conname LIKE '%\\_not\\_null'
       AND pg_catalog.pg_get_expr(c.conbin, c.conrelid) = '(' || pg_catalog.quote_ident(a.attname) || ' IS NOT NULL)'
     WHERE a.attrelid = ${oidOf(table)} AND a.attname = ${literal(column)} AND NOT a.attisdropped`,
  )
  if (!isSet)
    return rows
      .filter(({ name }) => name !== null)
      .map(
        ({ name }) => `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${identifier(textOf(name))}`,
      )
  const isDone = rows.some(
    ({ isNotNull, name, isValid }) =>
      isNotNull === 'true' || (job === true ? isValid === 'true' : name !== null),
  )
  return isDone ? [] : [sql]
}

function rowOf(
  { scope, position, statement }: Running,
  hash: string,
  state: LedgerRow['state'],
  before?: string,
): Parameters<typeof writeRow>[2] {
  return { scope, position, hash, state, statement: statement.sql, before }
}

async function forget(
  running: Writing & { readonly scope: string; readonly position: number },
): Promise<void> {
  const { connection, lease, tables, scope, position } = running
  if (tables === undefined) return
  await inTransaction(running, async () => {
    await lease.check(connection)
    await connection.query(
      `DELETE FROM ${tables.rows} WHERE scope = ${literal(scope)} AND position = ${position}`,
    )
  })
}

async function parsedOf(sql: string): Promise<ParsedStatement | undefined> {
  const { parse } = await sqlParser()
  const parsed = parse(sql)
  return parsed.fault === undefined ? parsed.statements[0] : undefined
}

async function stateOf(connection: MigrationConnection, probe: Probe): Promise<string | undefined> {
  if (probe === undefined || probe === 'repeatable') return undefined
  const { rows } = await connection.query(probe.sql)
  return textOf(rows[0]?.['state'])
}

/** Whether a statement that was recorded as started has run, as the catalog shows. */
async function hasChanged(
  { connection, scope, statement, position, isProgram = false, tables }: Running,
  probe: Probe,
  { before }: LedgerRow,
): Promise<boolean> {
  if (probe === 'repeatable') return false
  if (probe === undefined || before === undefined) {
    const own = `scope = ${literal(scope)} AND position = ${position}`
    throw new PgIamError(
      'ERR_MIGRATION_STATE',
      `it is not known whether statement ${position} of the migration "${scope}" (line ${statement.source.line}) has run`,
      {
        hint: isProgram
          ? `Look in the database. If it has run, run: UPDATE ${tables!.rows} SET state = 'done' WHERE ${own}. If it has not, run: DELETE FROM ${tables!.rows} WHERE ${own}`
          : `Look in the database, and run pg-iam migrate resolve ${scope} --done, or --not-done.`,
      },
    )
  }
  return (await stateOf(connection, probe)) !== before
}

// Errors.

/** Names the statement. The error of a lost connection stays as it is: whoever opens a new one goes on. */
function failureOf(error: unknown, { scope, statement, position }: Running): unknown {
  if (isLoss(error, undefined) || isPgIamError(error, 'ERR_ABORTED')) return error
  const isOurs = isPgIamError(error) && error.code.startsWith('ERR_MIGRATION_')
  if (isOurs) return error
  const { message, hint } = error as { message: string; hint?: unknown }
  const own = sqlStateOf(error) === '54000' ? ROW_LIMIT : undefined
  const remedy = typeof hint === 'string' && hint !== '' ? hint : own
  return new PgIamError(
    'ERR_MIGRATION_FAILED',
    `the migration "${scope}" failed at statement ${position} (line ${statement.source.line}): ${message}`,
    {
      cause: error,
      retryable: isOccConflict(error),
      ...(remedy !== undefined && { hint: remedy }),
    },
  )
}

/** https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
const ROW_LIMIT =
  'Split it into statements of at most 2,999 rows and 10 MiB. A transaction may change 3,000 rows, and one of them is that of the ledger.'

function statementChanged({ scope, statement, position }: Running): PgIamError {
  return new PgIamError(
    'ERR_MIGRATION_STATE',
    `statement ${position} of the migration "${scope}" (line ${statement.source.line}) has changed since it ran`,
    { hint: 'Restore the file to what it was, and put the change into a new migration.' },
  )
}

/** The commands of ORMs print no hints, and the ledger does not know the file, so the message has everything. */
function programChanged({ scope, position, tables }: Running, before: LedgerRow): PgIamError {
  return new PgIamError(
    'ERR_MIGRATION_STATE',
    [
      `statement ${position} of the migration "${scope}" has changed since it ran`,
      `It was: ${before.statement.slice(0, MAX_SHOWN)}`,
      'Restore the migration',
      `If what has run is to stay, run: ${removal(tables!, scope)}`,
    ].join('. '),
  )
}

function notSent({ scope, tables }: ProgramOptions, before: LedgerRow): PgIamError {
  return new PgIamError(
    'ERR_MIGRATION_STATE',
    [
      `the migration "${scope}" has run in part before, and not all of that is in the one that ends now`,
      `It was: ${before.statement.slice(0, MAX_SHOWN)}`,
      'Restore the migration, and complete it first',
      `If what has run is to stay, run: ${removal(tables, scope)}`,
    ].join('. '),
  )
}

function notFinished(error: PgIamError, { scope, tables }: ProgramOptions): PgIamError {
  return new PgIamError(
    'ERR_MIGRATION_FAILED',
    `${error.message}. An earlier run has begun the statement. If it is to stay as it is, run: ${removal(tables, scope)}`,
    { cause: error, retryable: error.retryable },
  )
}

function removal({ rows }: LedgerTables, scope: string): string {
  return `DELETE FROM ${rows} WHERE scope LIKE ${literal(`${scope}%`)}`
}

/** Characters. */
const MAX_SHOWN = 200

function startedChanged({ scope, statement, position }: Running): PgIamError {
  return new PgIamError(
    'ERR_MIGRATION_STATE',
    `statement ${position} of the migration "${scope}" (line ${statement.source.line}) has changed since it was started, and may have run`,
    {
      hint: `Look in the database, and run pg-iam migrate resolve ${scope} --done, or --not-done.`,
    },
  )
}

// Transactions.

export type Writing = Pick<ExecutorOptions, 'connection' | 'lease' | 'retry' | 'tables'>

/** Runs `work` in a transaction, and retries it as a whole after a conflict. */
export function inTransaction<T>(
  { connection, retry }: Pick<Writing, 'connection' | 'retry'>,
  work: () => Promise<T>,
): Promise<T> {
  return attempts(async () => {
    await connection.query('BEGIN')
    try {
      const result = await work()
      await connection.query('COMMIT')
      return result
    } catch (error) {
      if (!isLoss(error, undefined)) await rollBack(connection)
      throw error
    }
  }, retry)
}

/** Writes a row of the ledger, which fails if the lease was taken over. */
export async function write(
  { connection, tables, lease }: Writing,
  row: Parameters<typeof writeRow>[2],
): Promise<void> {
  if (tables === undefined) return
  const { rows } = await connection.query(writeRow(tables, lease, row))
  if (rows.length === 0) throw leaseLost()
}

async function record(options: Writing, row: Parameters<typeof writeRow>[2]): Promise<void> {
  await write(options, row)
}

/** The first error matters more than that of ROLLBACK, which fails on a lost connection only. */
async function rollBack(connection: MigrationConnection): Promise<void> {
  await connection.query('ROLLBACK').catch(() => undefined)
}

// Batches.

/** Changes rows in transactions of at most 3,000, in the order of the primary key. It can start over: what is done is not found again. */
async function runBatch(running: Running, batch: Batch, hash: string): Promise<Rows> {
  const { connection, statement, position, progress, lease } = running
  const { table, where, sql } = batch
  if (sql.startsWith('DELETE')) await checkUnreferenced(running, table)
  const keys = await primaryKey(connection, table)
  const condition = where === undefined ? [] : [where]
  if (keys.length === 0) {
    const all = condition.length === 0 ? sql : `${sql} WHERE ${condition.join(' AND ')}`
    await inTransaction(running, async () => {
      await connection.query(all)
      await write(running, rowOf(running, hash, 'done'))
    })
    return []
  }
  const key = `(${keys.map(identifier).join(', ')})`
  let size = MAX_ROWS
  let after: string | undefined
  let changed = 0
  for (;;) {
    await lease.renewIfDue(connection)
    const from = after === undefined ? condition : [...condition, `${key} > ${after}`]
    const last = await keyAt(connection, { table, keys, key, where: from, offset: size - 1 })
    const range = last === undefined ? from : [...from, `${key} <= ${last}`]
    const filter = range.length === 0 ? '' : ` WHERE ${range.join(' AND ')}`
    try {
      const { rows } = await inTransaction(running, async () => {
        await lease.check(connection)
        return connection.query(`${sql}${filter} RETURNING 1 AS changed`)
      })
      changed += rows.length
    } catch (error) {
      // Rows of more than 10 MiB together.
      if (!/^5[34]/.test(sqlStateOf(error) ?? '') || size === 1) throw error
      size = Math.ceil(size / 4)
      continue
    }
    progress({ position, statement, state: 'rows', rows: changed })
    if (last === undefined) break
    after = last
  }
  await record(running, rowOf(running, hash, 'done'))
  return []
}

interface KeyQuery {
  readonly table: string
  readonly keys: readonly string[]
  readonly key: string
  readonly where: readonly string[]
  readonly offset: number
}

/** The key of the row that is so many rows further, as SQL. */
async function keyAt(
  connection: MigrationConnection,
  { table, keys, key, where, offset }: KeyQuery,
): Promise<string | undefined> {
  const columns = keys.map((name, index) => `${identifier(name)}::text AS k${index}`)
  const filter = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
  const order = key.slice(1, -1)
  const { rows } = await connection.query(
    `SELECT ${columns.join(', ')} FROM ${table} ${filter} ORDER BY ${order} LIMIT 1 OFFSET ${offset}`,
  )
  const [row] = rows
  if (row === undefined) return undefined
  return `(${keys.map((_, index) => literal(textOf(row[`k${index}`]))).join(', ')})`
}

async function primaryKey(connection: MigrationConnection, table: string): Promise<string[]> {
  const { rows } = await connection.query(
    `SELECT a.attname::text AS name FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid
     AND a.attnum = ANY (c.conkey) WHERE c.conrelid = ${oidOf(table)} AND c.contype = 'p' ORDER BY pg_catalog.array_position(c.conkey, a.attnum)`,
  )
  return rows.map(({ name }) => textOf(name))
}

/** TRUNCATE refuses that, where DELETE would cascade. */
async function checkUnreferenced({ connection, scope }: Running, table: string): Promise<void> {
  const { rows } = await connection.query(
    `SELECT c.conname::text AS name FROM pg_catalog.pg_constraint c WHERE c.confrelid = ${oidOf(table)} AND c.contype = 'f'
     AND c.conrelid <> c.confrelid ORDER BY c.conname LIMIT 1`,
  )
  const [row] = rows
  if (row === undefined) return
  throw new PgIamError(
    'ERR_MIGRATION_FAILED',
    `the migration "${scope}" cannot truncate ${table}, which the foreign key "${textOf(row['name'])}" references`,
    { hint: 'Use DELETE, which does to the other table what the foreign key says.' },
  )
}

// Jobs.

/** Waits until the index is built or the constraint validated. */
async function awaitOutcome(
  running: Running,
  { tag, node }: ParsedStatement,
  job: string | undefined,
): Promise<void> {
  if (tag === 'IndexStmt') {
    const name = node['idxname']
    await awaitIndex(running, nameOf(node['relation']), textOf(name), job)
    return
  }
  if (job !== undefined) await awaitJob(running, job, () => 'it left the constraint NOT VALID')
  const [command] = nodesIn(node['cmds'], 'AlterTableCmd')
  const name = textOf(command?.['name'])
  const { rows } = await running.connection.query(
    `SELECT c.convalidated::text AS valid FROM pg_catalog.pg_constraint c WHERE c.conrelid = ${oidOf(nameOf(node['relation']))}
     AND c.conname = ${literal(name)}`,
  )
  if (rows.some(({ valid }) => valid === 'false'))
    throw new PgIamError(
      'ERR_MIGRATION_FAILED',
      `the migration "${running.scope}" found the constraint ${identifier(name)} not validated: its job has failed`,
      { hint: 'Correct the rows, and migrate again.' },
    )
}

async function awaitIndex(
  running: Running,
  table: string,
  name: string,
  job: string | undefined,
): Promise<void> {
  const shown = name === '' ? 'an index' : `the index ${identifier(name)}`
  const left = (isUnique: boolean): string =>
    `it left ${shown} invalid${isUnique ? ', which keeps rejecting duplicates until it is dropped' : ''}`
  const isUnique = /\bUNIQUE\b/i.test(running.statement.sql.split('(')[0]!)
  const known = job ?? (name === '' ? undefined : (await jobOf(running, table, name))?.id)
  if (known !== undefined) await awaitJob(running, known, () => left(isUnique))
  // Rows of jobs vanish after 30 minutes, and IF NOT EXISTS returns none: the catalog decides.
  if (name !== '' && (await invalidIndex(running, table, name)) !== undefined)
    throw new PgIamError(
      'ERR_MIGRATION_FAILED',
      `the migration "${running.scope}" found ${shown} invalid: its job has failed`,
      { hint: DROPPED_FIRST },
    )
}

const DROPPED_FIRST = 'Correct the rows, and migrate again: that drops the index first.'

/** The index that the statement has left invalid in an earlier run, when its job failed. It is built anew. */
async function dropFailedIndex(running: Running, { tag, node }: ParsedStatement): Promise<boolean> {
  const { connection, statement, lease } = running
  const name = textOf(node['idxname'])
  if (tag !== 'IndexStmt' || statement.job !== true || name === '') return false
  const table = nameOf(node['relation'])
  const index = await invalidIndex(running, table, name)
  if (index === undefined) return false
  const job = await jobOf(running, table, name)
  // Its row vanishes 30 minutes after it has ended.
  if (job !== undefined && !ENDED_WITHOUT.has(job.status)) return false
  await lease.renew(connection)
  await connection.query(`DROP INDEX ${index}`)
  return true
}

/** How a job ends that has not built its index. */
const ENDED_WITHOUT: ReadonlySet<string> = new Set(['failed', 'cancelled'])

/** The index in SQL, if it is invalid. */
async function invalidIndex(
  { connection }: Running,
  table: string,
  name: string,
): Promise<string | undefined> {
  const { rows } = await connection.query(
    `SELECT i.indexrelid::pg_catalog.regclass::text AS name FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = ${oidOf(table)} AND c.relname = ${literal(name)} AND NOT i.indisvalid`,
  )
  return rows[0] === undefined ? undefined : textOf(rows[0]['name'])
}

/** The last job of an index. */
async function jobOf(
  { connection }: Running,
  table: string,
  name: string,
): Promise<{ id: string; status: string } | undefined> {
  const { rows } = await connection.query(
    `SELECT j.job_id, j.status FROM sys.jobs j JOIN pg_catalog.pg_class t ON t.oid = ${oidOf(table)} JOIN pg_catalog.pg_namespace n
     ON n.oid = t.relnamespace WHERE j.job_type = 'INDEX_BUILD' AND j.object_name IN (n.nspname || '.' || ${literal(name)}, ${literal(name)})
     ORDER BY j.start_time DESC LIMIT 1`,
  )
  const id = textOf(rows[0]?.['job_id'])
  return id === '' ? undefined : { id, status: textOf(rows[0]?.['status']) }
}

/** Asks for the state of a job until it has ended, and renews the lease in between. */
async function awaitJob(running: Running, id: string, left: () => string): Promise<void> {
  const { connection, lease, sleep, signal, position, statement, progress, scope } = running
  for (let round = 0; ; round++) {
    const { rows } = await connection.query(
      `SELECT status, details FROM sys.jobs WHERE job_id = ${literal(id)}`,
    )
    const [row] = rows
    // Its row has vanished: the catalog says how it ended.
    if (row === undefined) return
    const status = textOf(row['status'])
    if (status === 'completed') return
    if (status === 'failed' || status === 'cancelled') {
      throw new PgIamError(
        'ERR_MIGRATION_FAILED',
        `the job ${id} of the migration "${scope}" (statement ${position}, line ${statement.source.line}) ${status}: ` +
          `${textOf(row['details'])}; ${left()}`,
        { hint: left().includes('index') ? DROPPED_FIRST : 'Correct the rows, and migrate again.' },
      )
    }
    progress({ position, statement, state: 'waiting', job: { id, status } })
    await lease.renewIfDue(connection)
    await sleep(Math.min(100 * 2 ** Math.min(round, 6), 5_000), signal)
  }
}

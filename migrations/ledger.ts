/**
 * The ledger: a table with one row for each statement that has run, and one for each migration; and the lease, which one deployer holds.
 *
 * All SQL has its values as literals, so that it runs on whatever can run a text.
 */
import { randomBytes } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { PgIamError } from '../core/errors.js'
import { identifier, literal } from '../core/sql.js'
import { sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import { attempts, type RetryOptions } from '../core/transactions/retry.js'

/** What runs SQL on one session: a client of pg fits, and what an ORM has is adapted in a line. */
export interface MigrationConnection {
  /** Runs one statement, and resolves with its rows, with the names of the columns as keys. Calls do not overlap. */
  query(sql: string): Promise<{ readonly rows: readonly Record<string, unknown>[] }>
}

/** Retries what conflicts outside of transactions: reading may, too, after another session has changed the schema. */
export function retrying(
  connection: MigrationConnection,
  retry: RetryOptions,
): MigrationConnection {
  // The end of a run is no reason to keep its lease, or a transaction open.
  const { signal: _, ...own } = retry
  let isInTransaction = false
  return {
    async query(sql) {
      if (isInTransaction) {
        if (sql === 'COMMIT' || sql === 'ROLLBACK') isInTransaction = false
        return connection.query(sql)
      }
      const result = await attempts(() => connection.query(sql), own)
      isInTransaction = sql === 'BEGIN'
      return result
    },
  }
}

export type Dialect = 'aurora-dsql' | 'postgres'

/** Where the ledger is. The names are quoted, with their schema. */
export interface LedgerTables {
  readonly dialect: Dialect
  readonly rows: string
  readonly lease: string
}

export interface LedgerPlace {
  /** Default: the first schema of the search path. */
  readonly schema?: string | undefined
  /** Default `pg_iam_migrations`. */
  readonly table?: string | undefined
  readonly dialect?: Dialect | undefined
}

export const LEDGER_TABLE = 'pg_iam_migrations'

/** Asks the server what it is, and where the ledger belongs. */
export async function locateLedger(
  connection: MigrationConnection,
  { schema, table = LEDGER_TABLE, dialect }: LedgerPlace,
): Promise<LedgerTables> {
  // Both tables are Aurora DSQL's own: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-systems-tables.html
  const { rows } = await connection.query(
    `SELECT pg_catalog.current_schema()::text AS schema,
     (SELECT count(*)::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'sys' AND c.relname IN ('jobs', 'iam_pg_role_mappings')) AS own`,
  )
  const place = schema ?? textOf(rows[0]?.['schema'])
  if (place === '')
    throw new PgIamError('ERR_MIGRATION_STATE', 'the search path has no schema for the ledger', {
      hint: 'Set "schema", or a search path with a schema that exists.',
    })
  const name = (suffix: string): string => `${identifier(place)}.${identifier(`${table}${suffix}`)}`
  const found = textOf(rows[0]?.['own']) === '2' ? 'aurora-dsql' : 'postgres'
  return { dialect: dialect ?? found, rows: name(''), lease: name('_lease') }
}

export async function hasLedger(
  connection: MigrationConnection,
  { rows, lease }: LedgerTables,
): Promise<boolean> {
  const found = await connection.query(
    `SELECT (pg_catalog.to_regclass(${literal(rows)}) IS NOT NULL AND pg_catalog.to_regclass(${literal(lease)}) IS NOT NULL)::text AS found`,
  )
  return textOf(found.rows[0]?.['found']) === 'true'
}

/** Creates the tables, unless they are there: the role of a deployer may lack the right to create any. */
export async function createLedger(
  connection: MigrationConnection,
  tables: LedgerTables,
): Promise<void> {
  if (await hasLedger(connection, tables)) return
  await create(
    connection,
    `CREATE TABLE IF NOT EXISTS ${tables.rows} (scope text NOT NULL, position integer NOT NULL, hash text NOT NULL, state text NOT NULL,
     statement text NOT NULL, before text, started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
     PRIMARY KEY (scope, position))`,
  )
  // The fence is in a unique index: a takeover changes a key, which conflicts with FOR KEY SHARE. A renewal changes none.
  await create(
    connection,
    `CREATE TABLE IF NOT EXISTS ${tables.lease} (name text PRIMARY KEY, fence bigint NOT NULL, holder text NOT NULL,
     expires_at timestamptz NOT NULL, UNIQUE (name, fence))`,
  )
}

/** Another deployer may create the same table: PostgreSQL then fails in its catalog, in spite of IF NOT EXISTS. */
async function create(connection: MigrationConnection, sql: string): Promise<void> {
  try {
    await connection.query(sql)
  } catch (error) {
    if (!['23505', '42710', '42P07'].includes(sqlStateOf(error) ?? '')) throw error
  }
}

// Rows.

/** A row of the ledger. Position 0 is the migration as a whole. */
export interface LedgerRow {
  readonly scope: string
  readonly position: number
  readonly hash: string
  /** `failed`: of a program, which may go on. */
  readonly state: 'started' | 'done' | 'failed'
  /** The beginning of the statement, for people. */
  readonly statement: string
  /** The state of the catalog before the statement; for those of programs that are done, after it. Or what the row is about. */
  readonly before: string | undefined
  readonly finishedAt: Date | undefined
}

/** @param where which rows; default all */
export async function readRows(
  connection: MigrationConnection,
  tables: LedgerTables,
  where = 'true',
): Promise<LedgerRow[]> {
  const { rows } = await connection.query(
    `SELECT scope, position::text AS position, hash, state, statement, before, (extract(epoch FROM finished_at) * 1000)::bigint::text AS at
     FROM ${tables.rows} WHERE ${where} ORDER BY scope, position`,
  )
  return rows.map((row) => ({
    scope: textOf(row['scope']),
    position: Number(row['position']),
    hash: textOf(row['hash']),
    state: STATES.find((one) => one === row['state']) ?? 'started',
    statement: textOf(row['statement']),
    before: row['before'] === null ? undefined : textOf(row['before']),
    finishedAt: row['at'] === null ? undefined : new Date(Number(row['at'])),
  }))
}

const STATES = ['started', 'done', 'failed'] as const

type NewRow = Pick<LedgerRow, 'scope' | 'position' | 'hash' | 'state' | 'statement' | 'before'>

/**
 * SQL that adds a row, or replaces the one that is there. It returns a row, unless the lease was taken over: one statement locks the row of
 * the lease and writes.
 */
export function writeRow({ rows }: LedgerTables, { guard }: Lease, row: NewRow): string {
  const { scope, position, hash, state, statement, before } = row
  const shown = statement.replaceAll('\0', ' ').slice(0, MAX_SHOWN)
  const finished = state === 'done' ? 'now()' : 'NULL::timestamptz'
  const values = [
    literal(scope),
    String(position),
    literal(hash),
    literal(state),
    literal(shown),
    before === undefined ? 'NULL' : literal(before),
    finished,
  ]
  return `INSERT INTO ${rows} (scope, position, hash, state, statement, before, finished_at)
    SELECT ${values.join(', ')} FROM (${guard}) AS lease ON CONFLICT (scope, position) DO UPDATE SET hash = excluded.hash, state = excluded.state, statement = excluded.statement,
    before = excluded.before, finished_at = excluded.finished_at RETURNING position`
}

const MAX_SHOWN = 500

// The lease.

export interface LeaseOptions {
  /** How long a deployer that died keeps others waiting, in milliseconds. */
  readonly leaseMs: number
  /** How long to wait for another deployer, in milliseconds. */
  readonly waitMs: number
  readonly clock: () => number
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  readonly signal: AbortSignal | undefined
  /** Called when another deployer holds it, with its name. */
  readonly waiting: (holder: string) => void
}

/**
 * The right to migrate. Its fence is a number that grows with every holder. Each transaction that writes to the ledger locks the row of
 * the fence, so that it fails once another deployer has taken the lease over.
 */
export interface Lease {
  readonly holder: string
  /** A query for the row of the lease, which locks it. */
  readonly guard: string
  /** Within a transaction that writes: rejects with `ERR_MIGRATION_LEASE` if the lease was taken over. */
  check(connection: MigrationConnection): Promise<void>
  /** Extends the lease. Rejects with `ERR_MIGRATION_LEASE` if it was taken over. */
  renew(connection: MigrationConnection): Promise<void>
  /** Extends the lease if a third of its time has passed. */
  renewIfDue(connection: MigrationConnection): Promise<void>
  release(connection: MigrationConnection): Promise<void>
}

const LEASE = literal('migrations')

export async function acquireLease(
  connection: MigrationConnection,
  { lease }: LedgerTables,
  { leaseMs, waitMs, clock, sleep, signal, waiting }: LeaseOptions,
): Promise<Lease> {
  const holder = `${PLACE}:${process.pid}:${randomBytes(4).toString('hex')}`
  const expiry = `now() + interval '${leaseMs} milliseconds'`
  const until = clock() + waitMs
  for (let round = 0; ; round++) {
    const taken = await connection.query(
      `UPDATE ${lease} SET fence = fence + 1, holder = ${literal(holder)}, expires_at = ${expiry}
       WHERE name = ${LEASE} AND expires_at <= now() RETURNING fence::text AS fence`,
    )
    const fence = textOf(taken.rows[0]?.['fence'])
    if (fence !== '') return heldLease(lease, { holder, fence, leaseMs, expiry, clock })
    const { rows } = await connection.query(`SELECT holder FROM ${lease} WHERE name = ${LEASE}`)
    if (rows.length === 0) {
      // Expired from the beginning, and taken over in the next round.
      await connection.query(
        `INSERT INTO ${lease} (name, fence, holder, expires_at) VALUES (${LEASE}, 0, '', now() - interval '1 second') ON CONFLICT DO NOTHING`,
      )
      continue
    }
    const other = textOf(rows[0]?.['holder'])
    if (hasDied(other)) {
      await connection.query(
        `UPDATE ${lease} SET expires_at = now() WHERE name = ${LEASE} AND holder = ${literal(other)}`,
      )
      continue
    }
    if (clock() >= until) throw leaseHeld(other)
    waiting(other)
    await sleep(Math.min(100 * 2 ** Math.min(round, 5), Math.max(until - clock(), 1)), signal)
  }
}

/** The holders of this process that have lost the connection on which they would have released their lease. */
const abandoned = new Set<string>()

/** Lets the next deployer of this process take the lease over at once. */
export function abandonLease({ holder }: Lease): void {
  abandoned.add(holder)
}

/** Where process IDs mean the same: the machine, and on Linux its namespace of process IDs, which containers have their own of. */
const PLACE = `${hostname()}${namespaceOfProcesses()}`

function namespaceOfProcesses(): string {
  try {
    return `/${/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? ''}`
  } catch {
    return ''
  }
}

/** Whether the holder was a process of this machine that has ended: sequelize-cli (6) exits without closing its connections. */
function hasDied(holder: string): boolean {
  if (abandoned.has(holder)) return true
  const [place, pid] = [holder.split(':').slice(0, -2).join(':'), Number(holder.split(':').at(-2))]
  if (place !== PLACE || !Number.isInteger(pid)) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

function leaseHeld(holder: string): PgIamError {
  return new PgIamError('ERR_MIGRATION_LEASE', `another deployer is migrating: ${holder}`, {
    hint: 'Wait until it has finished. If it has died, its lease expires by itself.',
    retryable: true,
  })
}

export function leaseLost(): PgIamError {
  return new PgIamError('ERR_MIGRATION_LEASE', 'another deployer has taken the lease over', {
    hint: 'Migrate again: it goes on where the other one stops. Raise "leaseMs" if this process was only slow.',
    retryable: true,
  })
}

interface Held {
  readonly holder: string
  readonly fence: string
  readonly leaseMs: number
  readonly expiry: string
  readonly clock: () => number
}

function heldLease(table: string, { holder, fence, leaseMs, expiry, clock }: Held): Lease {
  const own = `name = ${LEASE} AND fence = ${fence}`
  let renewedAt = clock()
  const guard = `SELECT fence FROM ${table} WHERE ${own} FOR KEY SHARE`
  const lease: Lease = {
    holder,
    guard,
    async check(connection) {
      const { rows } = await connection.query(guard)
      if (rows.length === 0) throw leaseLost()
    },
    async renew(connection) {
      const at = clock()
      const { rows } = await connection.query(
        `UPDATE ${table} SET expires_at = ${expiry} WHERE ${own} RETURNING fence::text AS fence`,
      )
      if (rows.length === 0) throw leaseLost()
      renewedAt = at
    },
    async renewIfDue(connection) {
      if (clock() - renewedAt >= leaseMs / 3) await lease.renew(connection)
    },
    async release(connection) {
      await connection.query(`UPDATE ${table} SET expires_at = now() WHERE ${own}`)
    },
  }
  return lease
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The tables that the clients write to, each client's record of its rows, and the comparison of both. */
import type { PoolOutcomes } from './messages.js'

/** Runs a statement as the administrator, without the gateway. */
export type Admin = (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>

/** The accounts of each pool, few enough that transfers conflict. */
export const ACCOUNTS_PER_POOL = 40

export function accountId(pool: number, index: number): number {
  return pool * ACCOUNTS_PER_POOL + index
}

/**
 * There are no unique keys, because duplicates must be found instead of being rejected. Each row has the ID of the transaction that wrote
 * it, to detect statements that ran outside of their transaction.
 *
 * `lingers` delays a COMMIT, so that connections are sometimes lost during it.
 */
export function schemaOf(pools: number, roles: readonly string[]): string[] {
  return [
    'CREATE TABLE note (id int NOT NULL, body text, xact xid8 NOT NULL DEFAULT pg_current_xact_id())',
    `CREATE TABLE leg (id int NOT NULL, account int NOT NULL, amount int NOT NULL, lingers boolean NOT NULL,
       xact xid8 NOT NULL DEFAULT pg_current_xact_id())`,
    'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL) WITH (fillfactor = 20)',
    'CREATE TABLE stray (id int NOT NULL)',
    `INSERT INTO account SELECT id, 0 FROM generate_series(0, ${accountId(pools, 0) - 1}) id`,
    `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$`,
    `CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON leg DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW WHEN (NEW.lingers) EXECUTE FUNCTION linger()`,
    `GRANT ALL ON note, leg, account, stray TO ${roles.join(', ')}`,
  ]
}

export const Outcome = {
  /** The call has not ended. */
  open: 0,
  /** A single row was written. */
  written: 1,
  /** The statement for a single row failed, but the server may have run it. */
  writeLost: 2,
  /** A transfer was committed. */
  confirmed: 3,
  /** A transfer may have been committed: `ERR_OUTCOME_UNKNOWN`. */
  unknown: 4,
  /** A transfer failed with another error, so it must not be in the tables. */
  refused: 5,
} as const

export type Outcome = (typeof Outcome)[keyof typeof Outcome]

/** The number of IDs of a pool. Those of all pools fit into an `int`. */
export const IDS_PER_POOL = 2 ** 26

export interface OutcomeLog {
  /** Returns an unused ID. */
  next(): number
  set(id: number, outcome: Outcome): void
  read(): Uint8Array
}

/** One byte per ID, so that a long run does not look like a memory leak. */
export function createOutcomeLog(pool: number): OutcomeLog {
  const first = pool * IDS_PER_POOL
  let bytes = new Uint8Array(1_024)
  let used = 0
  return {
    next() {
      if (used === bytes.length) {
        const larger = new Uint8Array(2 * bytes.length)
        larger.set(bytes)
        bytes = larger
      }
      return first + used++
    },
    set: (id, outcome) => {
      bytes[id - first] = outcome
    },
    read: () => bytes.slice(0, used),
  }
}

/** The rows of one ID. */
export interface LedgerEntry {
  readonly notes: number
  readonly legs: number
  /** The sum of the legs. */
  readonly amount: number
  /** The number of transactions that wrote rows. */
  readonly transactions: number
}

/** The faults of the tables, one sentence each. Empty if the ledger is consistent. */
export async function ledgerFaults(
  admin: Admin,
  pools: readonly PoolOutcomes[],
): Promise<string[]> {
  await admin('CREATE INDEX ON note (id)')
  await admin('CREATE INDEX ON leg (id)')
  const faults: string[] = []
  let rows = 0
  for (const { pool, outcomes } of pools) {
    for (let start = 0; start < outcomes.length; start += PAGE) {
      const first = pool * IDS_PER_POOL + start
      const entries = await readEntries(admin, first, Math.min(PAGE, outcomes.length - start))
      for (const { notes, legs } of entries.values()) rows += notes + legs
      outcomes.subarray(start, start + PAGE).forEach((outcome, index) => {
        const fault = entryFault(outcome as Outcome, entries.get(first + index) ?? NOTHING)
        if (fault !== undefined) faults.push(`ID ${first + index}: ${fault}`)
      })
    }
  }
  return [...faults, ...(await alienRows(admin, pools, rows)), ...(await wrongBalances(admin))]
}

/** Returns the fault of one ID, if any. */
export function entryFault(outcome: Outcome, entry: LedgerEntry): string | undefined {
  const found = shapeOf(entry)
  if (ALLOWED[outcome].includes(found)) return undefined
  const { notes, legs, transactions } = entry
  return `${MEANINGS[outcome]}, but it was found ${found} (${notes} notes and ${legs} legs of ${transactions} transactions)`
}

type Shape = 'not at all' | 'as a row' | 'as a whole' | 'in part or more than once'

function shapeOf({ notes, legs, amount, transactions }: LedgerEntry): Shape {
  if (notes === 0 && legs === 0) return 'not at all'
  if (transactions !== 1 || notes !== 1) return 'in part or more than once'
  if (legs === 0) return 'as a row'
  return legs === 2 && amount === 0 ? 'as a whole' : 'in part or more than once'
}

const ALLOWED: Readonly<Record<Outcome, readonly Shape[]>> = {
  [Outcome.open]: ['not at all', 'as a row', 'as a whole'],
  [Outcome.written]: ['as a row'],
  [Outcome.writeLost]: ['not at all', 'as a row'],
  [Outcome.confirmed]: ['as a whole'],
  [Outcome.unknown]: ['not at all', 'as a whole'],
  [Outcome.refused]: ['not at all'],
}

const MEANINGS: Readonly<Record<Outcome, string>> = {
  [Outcome.open]: 'its call did not end',
  [Outcome.written]: 'the row was written',
  [Outcome.writeLost]: 'the row was lost or written',
  [Outcome.confirmed]: 'the transfer was confirmed',
  [Outcome.unknown]: 'the outcome of the transfer is unknown',
  [Outcome.refused]: 'the transfer was rolled back',
}

const NOTHING: LedgerEntry = { notes: 0, legs: 0, amount: 0, transactions: 0 }

const PAGE = 50_000

async function readEntries(
  admin: Admin,
  first: number,
  count: number,
): Promise<ReadonlyMap<number, LedgerEntry>> {
  const rows = await admin(ENTRIES, [first, first + count - 1])
  return new Map(
    rows.map(({ id, notes, legs, amount, transactions }) => [
      Number(id),
      {
        notes: Number(notes),
        legs: Number(legs),
        amount: Number(amount),
        transactions: Number(transactions),
      },
    ]),
  )
}

const ENTRIES = `
  SELECT id, sum(notes) AS notes, sum(legs) AS legs, sum(amount) AS amount, count(DISTINCT xact) AS transactions
  FROM (
    SELECT id, 1 AS notes, 0 AS legs, 0 AS amount, xact FROM note WHERE id BETWEEN $1 AND $2
    UNION ALL
    SELECT id, 0, 1, amount, xact FROM leg WHERE id BETWEEN $1 AND $2
  ) AS entry GROUP BY id`

/** Rows with unused IDs of these pools. */
async function alienRows(
  admin: Admin,
  pools: readonly PoolOutcomes[],
  known: number,
): Promise<string[]> {
  const [row] = await admin(
    `SELECT count(*) FROM (SELECT id FROM note UNION ALL SELECT id FROM leg) AS entry
     WHERE id / ${IDS_PER_POOL} = ANY($1)`,
    [pools.map(({ pool }) => pool)],
  )
  const aliens = Number(row!['count']) - known
  return aliens === 0 ? [] : [`${aliens} rows have IDs that no client used`]
}

/** Accounts whose balance differs from the sum of their legs, and money without a source. */
async function wrongBalances(admin: Admin): Promise<string[]> {
  const rows = await admin(`
    SELECT format('account %s holds %s, and its legs brought %s', account.id, balance, coalesce(sum(amount), 0)) AS fault
    FROM account LEFT JOIN leg ON leg.account = account.id
    GROUP BY account.id HAVING balance <> coalesce(sum(amount), 0) ORDER BY account.id`)
  return rows.map(({ fault }) => String(fault))
}

/** Has PostgreSQL write checkpoints, which it leaves to another process everywhere else, so that its log does not grow for ever. */
import { catalogQuery } from '../../sql/sql-text.js'
import { rowsOf } from './sql-reply.js'

export interface LogKeeper {
  /** A job is done, and no transaction is open. */
  afterJob(): void
}

/**
 * @param query runs SQL in the state of whatever session had the last turn
 * @param asSuperuser runs SQL in nobody's state
 */
export function createLogKeeper(
  query: (sql: string) => Buffer,
  asSuperuser: (sql: string) => Buffer,
): LogKeeper {
  let jobs = 0
  let checkpoint = position()

  function position(): number {
    return Number(rowsOf(query(LOG_POSITION))[0]?.[0] ?? 0)
  }
  return {
    afterJob() {
      if (++jobs < JOBS_BETWEEN_LOOKS) return
      jobs = 0
      const now = position()
      if (now - checkpoint < LOG_BYTES) return
      asSuperuser('CHECKPOINT')
      checkpoint = now
    },
  }
}

const JOBS_BETWEEN_LOOKS = 200
const LOG_BYTES = 33_554_432

const LOG_POSITION = catalogQuery(
  `SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0'::pg_catalog.pg_lsn)`,
)

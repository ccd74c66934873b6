/**
 * `sql.begin` of Postgres.js, made safe against connections that die.
 *
 * When the connection of a transaction closes, Postgres.js (3.4) rejects `begin`, but lets the function run on. Then
 * - the ROLLBACK that it sends when the function fails is written to a socket that is null: the process ends;
 * - where another query was waiting for a connection the slot is opened anew, and statements that the function still sends run
 *   there, each by itself: half a transaction is committed.
 *
 * See https://github.com/porsager/postgres/issues/1066 and https://github.com/porsager/postgres/pull/1155
 */
import type { Sql, TransactionSql } from 'postgres'
import { guardSql } from './guard-sql.js'
import { createTransactionState, runGuarded, type Work } from './transaction-state.js'

type Begin = Sql['begin']

/** Returns a `begin` that does the same, but for what happens when the connection dies: it rejects with what said so first. */
export function safeBegin(sql: Sql): Begin {
  const { begin } = sql as { begin: Begin & { [SAFE]?: true } }
  if (begin[SAFE] === true) return begin
  const safe = async (optionsOrWork: string | Work, maybeWork?: Work): Promise<unknown> => {
    const work = maybeWork ?? (optionsOrWork as Work)
    const transaction = createTransactionState()
    const guarded = (inner: TransactionSql): Promise<unknown> =>
      runGuarded(() => work(guardSql(inner, transaction)), transaction, transaction.close)
    try {
      const result = await (maybeWork === undefined
        ? begin(guarded)
        : begin(optionsOrWork as string, guarded))
      transaction.end()
      return result
    } catch (error) {
      throw transaction.end(error)
    }
  }
  return Object.defineProperty(safe as unknown as Begin, SAFE, { value: true })
}

const SAFE: unique symbol = Symbol.for('pg-iam.safe-begin') as never

/** The `sql` of a transaction of Postgres.js, which refuses statements once the transaction is over. */
import type { TransactionSql } from 'postgres'
import {
  isConnectionLost,
  runGuarded,
  type TransactionState,
  type Work,
} from './transaction-state.js'

export function guardSql(inner: TransactionSql, transaction: TransactionState): TransactionSql {
  const guard =
    (call: (...args: never[]) => unknown) =>
    (...args: never[]): unknown =>
      guardQuery(call(...args), transaction)
  const savepoint = (...args: [string | Work, Work?]): unknown => {
    if (transaction.isClosed) return Promise.reject(transaction.tooLate() as Error)
    const work = args[1] ?? (args[0] as Work)
    // Guarded as the whole is: Postgres.js would write the ROLLBACK TO of a savepoint to the dead connection, too.
    const nested = (sql: TransactionSql): unknown =>
      runGuarded(() => work(guardSql(sql, transaction)), transaction)
    return args.length === 1
      ? inner.savepoint(nested as never)
      : inner.savepoint(args[0] as string, nested as never)
  }
  return new Proxy(inner, {
    apply: (target, _self, args) => guard(target as never)(...(args as never[])),
    get: (target, name) => {
      if (name === 'savepoint') return savepoint
      const value: unknown = Reflect.get(target, name)
      return name === 'unsafe' || name === 'file' ? guard(value as never) : value
    },
  })
}

/** What sends a query off, besides waiting for it. */
const SENDERS: ReadonlySet<string | symbol> = new Set(['execute', 'handle', 'forEach', 'cursor'])

/**
 * A query is sent when somebody waits for it, so that is when the transaction must be alive.
 *
 * A query of a dead connection rejects a little before `begin` does, and the function may go on in between. So the first
 * query that fails without an answer of the server ends the transaction, before the function hears of it.
 */
function guardQuery(query: unknown, transaction: TransactionState): unknown {
  if (!isQuery(query)) return query
  const then: Promise<unknown>['then'] = (succeed, fail) => {
    if (transaction.isClosed)
      return Promise.reject(transaction.tooLate() as Error).then(succeed, fail)
    return query
      .then(undefined, (error: unknown) => {
        if (isConnectionLost(error)) transaction.lose(error)
        throw error
      })
      .then(succeed, fail)
  }
  const proxy: object = new Proxy(query, {
    get: (target, name) => {
      if (name === 'then') return then
      if (name === 'catch') return (fail: never) => then(undefined, fail)
      if (name === 'finally') return (settled: () => void) => then().finally(settled)
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (SENDERS.has(name) && transaction.isClosed) {
          if (name === 'cursor') throw transaction.tooLate()
          return proxy
        }
        const result: unknown = Reflect.apply(value, target, args)
        // `values()`, `raw()` and the like return the query itself.
        return result === target ? proxy : result
      }
    },
  })
  return proxy
}

function isQuery(value: unknown): value is Promise<unknown> {
  return value instanceof Promise && 'handler' in value
}

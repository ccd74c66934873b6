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
import { PgIamError } from '../../core/errors.js'

type Work = (sql: TransactionSql) => unknown
type Begin = Sql['begin']

/** Returns a `begin` that does the same, but for what happens when the connection dies. */
export function safeBegin(sql: Sql): Begin {
  const { begin } = sql as { begin: Begin & { [SAFE]?: true } }
  if (begin[SAFE] === true) return begin
  const safe = async (optionsOrWork: string | Work, maybeWork?: Work): Promise<unknown> => {
    const work = maybeWork ?? (optionsOrWork as Work)
    const transaction: TransactionState = { isOver: false }
    const guarded = (inner: TransactionSql): Promise<unknown> =>
      runGuarded(inner, work, transaction)
    try {
      return await (maybeWork === undefined
        ? begin(guarded)
        : begin(optionsOrWork as string, guarded))
    } finally {
      transaction.isOver = true
    }
  }
  return Object.defineProperty(safe as unknown as Begin, SAFE, { value: true })
}

const SAFE: unique symbol = Symbol.for('pg-iam.safe-begin') as never

interface TransactionState {
  isOver: boolean
}

/**
 * Runs the caller's function, and tells Postgres.js of its end only while the transaction lives: a promise that never settles
 * is what keeps it from writing to the dead connection. The end waits for one turn of the event loop, in which the closing of
 * the connection, that the function may have failed of, has reached `begin`.
 */
function runGuarded(
  inner: TransactionSql,
  work: Work,
  transaction: TransactionState,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      setImmediate(() => {
        if (!transaction.isOver) end()
      })
    }
    Promise.resolve()
      .then(() => work(guardSql(inner, transaction)))
      // Postgres.js takes an array of queries for their results.
      .then((result) => (Array.isArray(result) ? Promise.all(result) : result))
      .then(
        (result) => settle(() => resolve(result)),
        (error: unknown) => settle(() => reject(error as Error)),
      )
  })
}

/** The transaction's own `sql`, which refuses statements once the transaction is over. */
function guardSql(inner: TransactionSql, transaction: TransactionState): TransactionSql {
  const guard = (call: (...args: never[]) => unknown) => {
    return (...args: never[]): unknown => {
      if (transaction.isOver) throw over()
      return guardQuery(call(...args), transaction)
    }
  }
  const savepoint = (...args: [string | Work, Work?]): unknown => {
    if (transaction.isOver) throw over()
    const work = args[1] ?? (args[0] as Work)
    const nested = (sql: TransactionSql): unknown => work(guardSql(sql, transaction))
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

/**
 * A query of a dead connection rejects a little before `begin` does, and the function may go on in between. So the first
 * query that fails without an answer of the server ends the transaction, before the function hears of it.
 */
function guardQuery(query: unknown, transaction: TransactionState): unknown {
  if (!isQuery(query)) return query
  const proxy: object = new Proxy(query, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name === 'then') {
        return (succeed: never, fail: ((error: unknown) => unknown) | undefined) =>
          target.then(succeed, (error: unknown) => {
            if (isConnectionLost(error)) transaction.isOver = true
            if (fail === undefined || fail === null) throw error
            return fail(error)
          })
      }
      if (name === 'catch')
        return (fail: never) => (proxy as Promise<unknown>).then(undefined, fail)
      return (...args: unknown[]): unknown => {
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

/** Errors of the database have five characters; those of Postgres.js and of the network say what happened to the connection. */
function isConnectionLost(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: unknown }
  return (
    name !== 'PostgresError' &&
    typeof code === 'string' &&
    /^(CONNECTION_|CONNECT_|E[A-Z]{3,})/.test(code)
  )
}

function over(): PgIamError {
  return new PgIamError(
    'ERR_CLOSED',
    'the transaction is over, and so is the use of its connection',
    {
      hint: 'Wait for each statement before the function of the transaction returns.',
    },
  )
}

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
import type { RetryOptions } from '../../core/conflict/retry-options.js'
import { commits, type TransactionConnection } from '../../core/conflict/transaction-connection.js'
import { transactionOver } from '../../core/conflict/transaction-lease.js'
import { isPgIamError } from '../../core/errors.js'
import { closeError, closing } from './closing-stream.js'
import {
  guardSql,
  type Connection,
  type ConnectionUse,
  type Handler,
  type Query,
} from './guard-sql.js'

export type Begin = Sql['begin']
export type Work = (sql: TransactionSql) => unknown

/**
 * Returns a `begin` that does the same, but for what happens when the connection dies: it rejects with the error of the server, where
 * that sent one, and no statement runs outside of the transaction. What the function returns passes through it unchanged.
 */
export function safeBegin(sql: Sql): Begin {
  const { begin } = sql as { begin: Begin & { [BARE]?: Begin } }
  const bare = begin[BARE] ?? begin
  const safe = async (options: string | Work, fn?: Work): Promise<unknown> => {
    const work = fn || (options as Work)
    const transaction = new Transaction()
    const guarded = (inner: TransactionSql): Promise<unknown> => {
      transaction.watchClose()
      return transaction.run(() => work(guardTransaction(inner, transaction)), true)
    }
    try {
      return await beginOn(sql, transaction, () =>
        fn ? bare(options as string, guarded) : bare(guarded),
      )
    } catch (error) {
      throw transaction.lost(error)
    } finally {
      transaction.end()
    }
  }
  return markSafe(safe as unknown as Begin, bare)
}

/** Says that a `begin` does what that of {@link safeBegin} does, and what Postgres.js's own is. */
export function markSafe(begin: Begin, bare: Begin): Begin {
  return Object.defineProperty(begin, BARE, { value: bare })
}

/** Postgres.js's own `begin`, also of an instance whose `begin` was replaced here. */
export function bareBegin(sql: Sql): Begin {
  const { begin } = sql as { begin: Begin & { [BARE]?: Begin } }
  return begin[BARE] ?? begin
}

/** The package's other copy knows it, too. */
const BARE: unique symbol = Symbol.for('pg-iam.bare-begin') as never

/** The `retryBegin` that an instance was made with, where it is on. */
export function retryOf(sql: Sql): RetryOptions | undefined {
  return (socketOf(sql) as { [RETRY]?: RetryOptions } | undefined)?.[RETRY]
}

export function socketOf(sql: Sql): unknown {
  return (sql.options as { socket?: unknown }).socket
}

/** Where the `socket` function of an instance has its `retryBegin`. */
export const RETRY: unique symbol = Symbol.for('pg-iam.retry-begin') as never

/** The connection of the transaction that this `sql` is of, where {@link safeBegin} has given it out. */
export function connectionOf(sql: unknown): TransactionConnection | undefined {
  return (sql as { [TRANSACTION]?: TransactionConnection } | undefined)?.[TRANSACTION]
}

const TRANSACTION: unique symbol = Symbol.for('pg-iam.transaction') as never

/**
 * Calls Postgres.js's `begin`, and learns from its BEGIN which of its connections that runs on. Postgres.js (3.4) sends BEGIN by
 * `sql.unsafe`, before it first waits for anything, with an option `onexecute` that is given the connection.
 */
function beginOn<T>(sql: Sql, transaction: Transaction, begin: () => T): T {
  const target = sql as { unsafe: (...args: never[]) => unknown }
  const { unsafe } = target
  target.unsafe = (text: never, args: never, options: never): unknown => {
    target.unsafe = unsafe
    const { onexecute } = (options ?? {}) as { onexecute?: (connection: Connection) => unknown }
    if (onexecute === undefined) return unsafe(text, args, options)
    const known = (connection: Connection): unknown => {
      const result = onexecute(connection)
      transaction.began(connection)
      return result
    }
    return unsafe(text, args, { ...(options as object), onexecute: known } as never)
  }
  try {
    return begin()
  } finally {
    target.unsafe = unsafe
  }
}

/** Whether a transaction is alive, and how its function runs meanwhile. */
class Transaction implements TransactionConnection, ConnectionUse {
  readonly #sent = new WeakSet<Query>()
  #connection: Connection | undefined
  #restore: () => void = () => {}
  #isOver = false
  #isClosed = false
  #loss: { error: unknown } | undefined
  #commit: TransactionConnection['commit'] = 'none'

  get commit(): TransactionConnection['commit'] {
    return this.#commit
  }

  get loss(): Error | undefined {
    return this.#loss?.error as Error | undefined
  }

  release(): void {}

  /** Whether it takes statements no more: it has ended, or its function has. */
  get isClosed(): boolean {
    return this.#isOver || this.#isClosed
  }

  /** The error for a statement that comes when it takes none any more. */
  get tooLate(): unknown {
    return this.#loss === undefined ? transactionOver() : this.#loss.error
  }

  /** Says which connection it runs on. COMMIT is Postgres.js's own query, which goes by no other way than `execute`. */
  began(connection: Connection): void {
    const { execute } = connection
    this.#connection = connection
    const watched = (query: Query): unknown => {
      if (this.#sent.has(query)) return execute(query)
      const text = query.strings.join('')
      // The last statement of the transaction: from then on the connection is another one's.
      if (/^(?:commit|rollback|prepare transaction)/.test(text)) this.#restore()
      if (commits(text)) this.#committing(query)
      return execute(query)
    }
    connection.execute = watched
    this.#restore = () => {
      if (connection.execute === watched) connection.execute = execute
    }
  }

  /** Is to be called when Postgres.js calls the function: it begins to listen for the end of the connection just after that. */
  watchClose(): void {
    queueMicrotask(() => {
      const connection = this.#connection
      const { onclose } = connection ?? {}
      if (connection === undefined || typeof onclose !== 'function') return
      const closed = (error: unknown): void => {
        this.#closed(error)
        onclose(error)
      }
      Object.assign(connection, { onclose: closed })
    })
  }

  send(query: Query, handler: Handler): unknown {
    this.#sent.add(query)
    const { reject } = query
    // The caller's function hears of a loss only then, and goes on.
    query.reject = (error) => {
      if (isConnectionLost(error)) this.#lose(error)
      reject(error)
    }
    if (commits(query.strings.join(''))) this.#committing(query)
    return handler(query)
  }

  /**
   * Runs the caller's function, and tells Postgres.js of its end only while the transaction lives: a promise that never settles
   * is what keeps it from writing to the dead connection. The end waits for one turn of the event loop, in which the closing of
   * the connection, which may be why the function failed, has reached `begin`.
   *
   * @param isWhole whether the transaction takes no more statements when the function has settled
   */
  run(work: () => unknown, isWhole: boolean): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (end: () => void): void => {
        this.#isClosed ||= isWhole
        setImmediate(() => {
          if (!this.#isOver) end()
        })
      }
      returned(work).then(
        (result) => settle(() => resolve(result)),
        (error: unknown) => settle(() => reject(error as Error)),
      )
    })
  }

  /** Says that it has failed with `error`. Returns the error that told of the loss of the connection, where there is one. */
  lost(error: unknown): unknown {
    if (isConnectionLost(error)) this.#lose(error)
    return this.#loss === undefined ? error : this.#loss.error
  }

  end(): void {
    this.#isOver = true
    this.#restore()
  }

  #lose(error: unknown): void {
    this.#isOver = true
    this.#loss ??= { error }
  }

  #closed(error: unknown): void {
    const { stream } = closing()
    // What the driver wrote last was its COMMIT.
    if (stream?.hasUnsent === true && this.#commit === 'written') this.#commit = 'none'
    this.#lose(closeError(error, stream?.loss ?? stream?.errored ?? undefined))
  }

  /** Postgres.js collects what it writes until the event loop turns, and forgets it where the connection closes before. */
  #committing(query: Query): void {
    setImmediate(() => {
      if (this.#commit === 'none' && !this.#isOver) this.#commit = 'written'
    })
    const { resolve } = query
    query.resolve = (value) => {
      this.#commit = 'answered'
      resolve(value)
    }
  }
}

/** What Postgres.js makes of what a function returns: an array, of queries, for their results. What else it returns is not looked into. */
export async function returned(work: () => unknown): Promise<unknown> {
  const given = work()
  return Array.isArray(given) ? Promise.all(given) : given
}

/** The `sql` of a transaction, which refuses statements once the transaction is over. */
function guardTransaction(inner: TransactionSql, transaction: Transaction): TransactionSql {
  const savepoint = (...args: [string | Work, Work?]): unknown => {
    if (transaction.isClosed) return Promise.reject(transaction.tooLate as Error)
    // Guarded as the whole is: Postgres.js would write the ROLLBACK TO of a savepoint to the dead connection, too.
    const nested =
      (work: Work) =>
      (sql: TransactionSql): unknown =>
        transaction.run(() => work(guardTransaction(sql, transaction)), false)
    const [name, work] = args as [unknown, unknown]
    // Postgres.js takes a statement in place of the function, too.
    if (Array.isArray((name as { raw?: unknown } | undefined)?.raw))
      return inner.savepoint(nested((sql) => sql(...(args as never as [never]))) as never)
    return args.length === 1
      ? inner.savepoint(nested(name as Work) as never)
      : inner.savepoint(name as string, nested(work as Work) as never)
  }
  return guardSql(inner, transaction, { [TRANSACTION]: transaction, savepoint })
}

/**
 * Tells whether an error is the end of the connection: CONNECTION_CLOSED and the like of Postgres.js, an error of the network,
 * or one by which the server ended the session.
 */
function isConnectionLost(error: unknown): boolean {
  const { code, name, severity } = (error ?? {}) as {
    code?: unknown
    name?: unknown
    severity?: unknown
  }
  if (name === 'PostgresError') return severity === 'FATAL' || severity === 'PANIC'
  if (isPgIamError(error, 'ERR_PROTOCOL')) return true
  return typeof code === 'string' && /^(CONNECTION_|CONNECT_|E[A-Z]{3,})/.test(code)
}

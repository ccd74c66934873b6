/**
 * Makes `sql.begin` and `sql.reserve` of Postgres.js safe when a connection is lost.
 *
 * If the connection of a transaction closes, Postgres.js (3.4) rejects `begin`, but the function keeps running. Then
 * - if the function fails, the ROLLBACK is written to a socket that is null, and the process ends;
 * - if another query was waiting for a connection, the slot reconnects, and further statements of the function run there, each outside a
 *   transaction: half of the transaction is committed.
 *
 * See https://github.com/porsager/postgres/issues/1066 and https://github.com/porsager/postgres/pull/1155
 */
import { readFile } from 'node:fs'
import type { ISql, ReservedSql, Sql, TransactionSql } from 'postgres'
import { isPgIamError, PgIamError } from '../../core/errors.js'
import type { RetryOptions } from '../../core/transactions/retry.js'
import {
  commits,
  type TransactionConnection,
  transactionOver,
} from '../../core/transactions/transaction-connection.js'

export type Begin = Sql['begin']
export type Work = (sql: TransactionSql) => unknown

/**
 * Returns a `begin` that behaves like the original, except when the connection is lost: it rejects with the server's error, if there is
 * one, and no statement runs outside the transaction. The function's result is returned unchanged.
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

/** Marks a `begin` as safe, and records the original of Postgres.js. */
export function markSafe(begin: Begin, bare: Begin): Begin {
  return Object.defineProperty(begin, BARE, { value: bare })
}

/** Postgres.js's original `begin`, also for an instance whose `begin` was replaced. */
export function bareBegin(sql: Sql): Begin {
  const { begin } = sql as { begin: Begin & { [BARE]?: Begin } }
  return begin[BARE] ?? begin
}

/** Shared with the package's other copy. */
const BARE: unique symbol = Symbol.for('pg-iam.bare-begin') as never

/** The `retryBegin` options of an instance, if enabled. */
export function retryOf(sql: Sql): RetryOptions | undefined {
  return (socketOf(sql) as { [RETRY]?: RetryOptions } | undefined)?.[RETRY]
}

export function socketOf(sql: Sql): unknown {
  return (sql.options as { socket?: unknown }).socket
}

/** The property of an instance's `socket` function with its `retryBegin` options. */
export const RETRY: unique symbol = Symbol.for('pg-iam.retry-begin') as never

/** The connection of the transaction that this `sql` belongs to, if it is from {@link safeBegin}. */
export function connectionOf(sql: unknown): TransactionConnection | undefined {
  return (sql as { [TRANSACTION]?: TransactionConnection } | undefined)?.[TRANSACTION]
}

const TRANSACTION: unique symbol = Symbol.for('pg-iam.transaction') as never

/**
 * Calls Postgres.js's `begin`, and finds the connection of the transaction by its BEGIN. Postgres.js (3.4) sends BEGIN with `sql.unsafe`,
 * synchronously, with an `onexecute` option that receives the connection.
 */
function beginOn<T>(sql: Sql, transaction: Transaction, begin: () => T): T {
  const target = sql as { unsafe: (...args: never[]) => unknown }
  const { unsafe } = target
  target.unsafe = (text: never, args: never, options: never): unknown => {
    target.unsafe = unsafe
    const { onexecute } = (options ?? {}) as { onexecute?: (connection: Connection) => unknown }
    if (onexecute === undefined) return unsafe(text, args, options)
    const executed = (connection: Connection): unknown => {
      const result = onexecute(connection)
      transaction.setConnection(connection)
      return result
    }
    return unsafe(text, args, { ...(options as object), onexecute: executed } as never)
  }
  try {
    return begin()
  } finally {
    target.unsafe = unsafe
  }
}

/** The state of a transaction and of its function. */
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

  /** Whether statements are rejected, because the transaction or its function has ended. */
  get isClosed(): boolean {
    return this.#isOver || this.#isClosed
  }

  /** The error for a statement that is rejected. */
  get closedError(): unknown {
    return this.#loss === undefined ? transactionOver() : this.#loss.error
  }

  /** Sets the connection. Postgres.js's own COMMIT can only be observed in `execute`. */
  setConnection(connection: Connection): void {
    const { execute } = connection
    this.#connection = connection
    const watched = (query: Query): unknown => {
      if (this.#sent.has(query)) return execute(query)
      const text = query.strings.join('')
      // The last statement of the transaction. The connection may be used for something else after it.
      if (/^(?:commit|rollback|prepare transaction)/.test(text)) this.#restore()
      if (commits(text)) this.#committing(query)
      return execute(query)
    }
    connection.execute = watched
    this.#restore = () => {
      if (connection.execute === watched) connection.execute = execute
    }
  }

  /** Must be called when Postgres.js calls the function. Postgres.js sets its close handler just after that. */
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
    // Records the loss before the caller's function receives the error.
    query.reject = (error) => {
      if (isConnectionLost(error)) this.#lose(error)
      reject(error)
    }
    if (commits(query.strings.join(''))) this.#committing(query)
    return handler(query)
  }

  /**
   * Runs the caller's function. Its result is only passed to Postgres.js while the transaction is alive: otherwise the promise never
   * settles, so that Postgres.js does not write to the dead connection. The result is delayed by one turn of the event loop. By then
   * `begin` knows if the connection was closed, which may be why the function failed.
   *
   * @param isWhole whether the transaction accepts no statements after the function has settled
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

  /** Records that it has failed with `error`. Returns the error of the lost connection instead, if there is one. */
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
    // The driver's last write was its COMMIT, and it was not sent.
    if (stream?.hasUnsent === true && this.#commit === 'written') this.#commit = 'none'
    this.#lose(closeError(error, stream?.loss ?? stream?.errored ?? undefined))
  }

  /** Postgres.js collects its writes until the next event-loop turn, and drops them if the connection closes before that. */
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

/** Returns the function's result as Postgres.js does: an array of queries becomes their results. Anything else is returned unchanged. */
export async function returned(work: () => unknown): Promise<unknown> {
  const given = work()
  return Array.isArray(given) ? Promise.all(given) : given
}

/** The `sql` of a transaction. It rejects statements after the transaction has ended. */
function guardTransaction(inner: TransactionSql, transaction: Transaction): TransactionSql {
  const savepoint = (...args: [string | Work, Work?]): unknown => {
    if (transaction.isClosed) return Promise.reject(transaction.closedError as Error)
    // Guarded as well: Postgres.js would also write the ROLLBACK TO of a savepoint to the dead connection.
    const nested =
      (work: Work) =>
      (sql: TransactionSql): unknown =>
        transaction.run(() => work(guardTransaction(sql, transaction)), false)
    const [name, work] = args as [unknown, unknown]
    // Postgres.js also accepts a statement in place of the function.
    if (Array.isArray((name as { raw?: unknown } | undefined)?.raw))
      return inner.savepoint(nested((sql) => sql(...(args as never as [never]))) as never)
    return args.length === 1
      ? inner.savepoint(nested(name as Work) as never)
      : inner.savepoint(name as string, nested(work as Work) as never)
  }
  return guardSql(inner, transaction, { [TRANSACTION]: transaction, savepoint })
}

/**
 * Whether an error means that the connection was lost: CONNECTION_CLOSED and similar codes of Postgres.js, a network error, or an error
 * with which the server ended the session.
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

// The `sql` of one connection. It rejects statements after the use of the connection has ended. Queries are those of Postgres.js.

/** The use of one connection, by a transaction or a reservation. */
interface ConnectionUse {
  /** Whether statements are rejected. */
  readonly isClosed: boolean
  /** The error for a statement that is rejected. */
  readonly closedError: unknown
  /** Sends a statement of the caller, with `handler` or in its own way. */
  send(query: Query, handler: Handler): unknown
}

/** A physical connection of Postgres.js (3.4), which has no class for it. */
interface Connection {
  execute(query: Query): unknown
  /** Closes the connection. It stays in its queue until its socket is closed, so it must be in a queue that is not used for queries. */
  terminate(): void
  /** Called by `sql.end()` and `sql.close()`. Closes the connection when it is no longer in use. */
  end(): unknown
  /** Called in the `close` event of its socket, with an error that only reports that it is closed. */
  onclose?: ((error: unknown) => void) | null
  /**
   * Set while the connection is used by a transaction or a reservation. Called at each ReadyForQuery without pending queries. If `release`
   * is not set, a ReadyForQuery outside a transaction ends the use instead: the connection is closed if it is past its maximum age,
   * otherwise handed out.
   */
  reserved?: ((() => unknown) & { release?: boolean }) | null
}

export interface BackendState {
  readonly pid: number | null
  readonly secret: number | null
}

/** The part of Postgres.js's queries that is used here, in addition to the promise. */
interface Query extends Promise<unknown> {
  strings: readonly string[]
  handler: Handler
  /** The process ID and secret key of its backend; `null` if it has not been sent. */
  readonly state: BackendState | null
  /** `true` if it was cancelled before it was sent. */
  readonly cancelled: unknown
  reject(error: unknown): void
  resolve(value: unknown): void
}

/** Sends a query. All ways to send one use it: `await`, `execute`, `forEach`, `cursor`, `readable` and others. */
type Handler = ((query: Query) => unknown) & { debug?: unknown }

/**
 * Guards the queries of `inner`.
 *
 * @param added properties that replace or extend those of `inner`
 */
function guardSql<T extends ISql>(
  inner: T,
  use: ConnectionUse,
  added: Readonly<Record<string | symbol, unknown>>,
): T {
  const guard =
    (call: (...args: never[]) => unknown) =>
    (...args: never[]): unknown =>
      guardQuery(call(...args), use)
  const replaced = new Set<string | symbol>()
  const own: Record<string | symbol, unknown> = {
    unsafe: guard(inner.unsafe as never),
    file: (...args: [string]): unknown => guardFile(inner, args, use),
    ...added,
  }
  return new Proxy(inner, {
    apply: (target, _self, args) => guard(target as never)(...(args as never[])),
    get: (target, name, receiver) => {
      const isOwn = Object.hasOwn(own, name) && !replaced.has(name)
      return isOwn ? own[name] : (Reflect.get(target, name, receiver) as unknown)
    },
    // Properties that the caller sets take precedence.
    set: (target, name, value) => {
      replaced.add(name)
      return Reflect.set(target, name, value)
    },
  })
}

/** A query is sent when it is awaited, so the connection is checked at that time. */
function guardQuery(query: unknown, use: ConnectionUse, send?: Handler): unknown {
  if (!isQuery(query)) return query
  const { handler } = query
  const guarded: Handler = (sent) => {
    // Already rejected. Postgres.js (3.4) would wait for its reply, and send nothing else in the meantime.
    if (sent.cancelled === true) return
    if (use.isClosed) return refuse(sent, use)
    return send === undefined ? use.send(sent, handler) : send(sent)
  }
  // If set, Postgres.js records the stack of each query for its error.
  guarded.debug = handler.debug
  query.handler = guarded
  return query
}

/** Postgres.js (3.4) reads the file when the query is sent, and then sends it without a check. The use may have ended by then. */
function guardFile(inner: ISql, args: [string], use: ConnectionUse): unknown {
  const send = (inner.unsafe('') as unknown as Query).handler
  return guardQuery(inner.file(...args), use, (query) =>
    readFile(args[0], 'utf8', (error, text) => {
      if (error !== null) query.reject(error)
      else if (query.cancelled === true) return
      else if (use.isClosed) refuse(query, use)
      else {
        query.strings = [text]
        use.send(query, send)
      }
    }),
  )
}

/** Not reported as an unhandled rejection, only to callers that await the query. */
function refuse(query: Query, use: ConnectionUse): void {
  query.catch(() => {})
  query.reject(use.closedError)
}

function isQuery(value: unknown): value is Query {
  return value instanceof Promise && 'handler' in value
}

// `sql.reserve` of Postgres.js, made safe for connections that reach their maximum age or are lost while reserved. In Postgres.js (3.4):
// - A connection that reaches `max_lifetime` is marked as ending. `release()` makes it available again, the first query on it ends it, and
//   further ones fail with CONNECTION_DESTROYED until its socket is closed.
// - A lost connection is made available again, too. The next query is written to a socket that is null, and the process ends. The same
//   happens for a query on the reserved `sql`.
// - Statements on the reserved `sql` after `release()` run in whatever uses the connection next.
// - `reserve` never settles if it waits for a connection that must reconnect, or if `fetch_types` is `false`. So a connection is reserved
//   here like the connection of a transaction, whose end Postgres.js handles correctly.

/**
 * Makes Postgres.js process the ReadyForQuery of an idle connection once more, as if a statement had just ended. Returns `false`, without
 * any effect, if the session is in a transaction, or the connection is unknown.
 */
type RepeatReady = (state: BackendState) => boolean

/**
 * Returns a `reserve` that behaves like the original, except when the connection reaches its maximum age or is lost, and after `release()`:
 * statements are then rejected with `ERR_CLOSED`, and an open transaction is rolled back.
 */
export function safeReserve(
  sql: Sql,
  repeatReady: RepeatReady,
  onLoss?: () => void,
): Sql['reserve'] {
  const { reserve } = sql
  return async () => {
    // In this case Postgres.js (3.4) does not hand out connections, not even to transactions.
    const { max_pipeline } = sql.options as { max_pipeline?: unknown }
    if (!(Number(max_pipeline) >= 1)) return reserve()
    let hasRetried = false
    for (;;) {
      // An empty query waits for a connection like any other query, even for one that reconnects. If too many queries are queued before it,
      // Postgres.js does not hand out the connection, and the query is repeated.
      let reservation: Reservation | undefined
      const onexecute = (connection: Connection): void => {
        reservation = new Reservation(sql, connection, query.state!, repeatReady)
      }
      const query = sql.unsafe('', [], { onexecute } as never) as unknown as Query
      try {
        await query
        if (reservation !== undefined) return reservation.handOut(onLoss)
      } catch (error) {
        // A late cancel request for the previous query can fail the empty one. The connection is fine, and is released.
        reservation?.release()
        // Otherwise the connection was lost with the queries before this one. Nothing was executed yet, so it can be repeated.
        if (hasRetried || reservation === undefined) throw error
        hasRetried = true
      }
    }
  }
}

/** One connection from `reserve()` to `release()`. */
class Reservation implements ConnectionUse {
  readonly sql: ReservedSql
  readonly #pool: Sql
  readonly #connection: Connection
  readonly #state: BackendState
  readonly #repeatReady: RepeatReady
  #onLoss: (() => void) | undefined
  /** The queries without a reply so far. */
  readonly #unanswered = new Set<Query>()
  /** Those that Postgres.js accepts only after all previous ones have been answered. */
  readonly #waiting: Query[] = []
  #mustWait = false
  /** Whether all queries have been answered. */
  #isIdle = false
  #isReleased = false
  #isOver = false
  #loss: { error: unknown } | undefined

  /** Must be called in `onexecute`. That returns nothing, so Postgres.js assigns no other query to the connection. */
  constructor(pool: Sql, connection: Connection, state: BackendState, repeatReady: RepeatReady) {
    this.#pool = pool
    this.#connection = connection
    this.#state = state
    this.#repeatReady = repeatReady
    Object.assign(connection, {
      reserved: Object.assign(() => this.#answered(), { release: true }),
      onclose: (error: unknown) => this.#closed(error),
    })
    this.sql = guardSql(reservedSql(pool), this, { release: () => this.release() })
  }

  get isClosed(): boolean {
    return this.#isOver || this.#loss !== undefined
  }

  get closedError(): unknown {
    return this.#loss === undefined ? releasedError() : this.#loss.error
  }

  /** Returns the `sql` for the caller, who learns of a loss from now on. */
  handOut(onLoss: (() => void) | undefined): ReservedSql {
    this.#onLoss = onLoss
    if (this.#loss !== undefined) onLoss?.()
    return this.sql
  }

  send(query: Query): void {
    this.#unanswered.add(query)
    const { resolve, reject } = query
    query.resolve = (value) => {
      this.#unanswered.delete(query)
      resolve(value)
    }
    query.reject = (error) => {
      this.#unanswered.delete(query)
      reject(error)
    }
    if (this.#mustWait) this.#waiting.push(query)
    else this.#execute(query)
  }

  /** The connection is released after all statements that the caller has sent before have been answered. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // Postgres.js (3.4) sends a query one microtask after it is awaited.
    queueMicrotask(() => {
      this.#isOver = true
      if (this.#isIdle) this.#giveBack()
    })
  }

  /** @returns whether it was sent. It is not if it was cancelled before, or cannot be sent now, during COPY */
  #execute(query: Query): boolean {
    const takesMore = Boolean(this.#connection.execute(query))
    if (query.state === null) return false
    this.#isIdle = false
    this.#mustWait ||= !takesMore
    return true
  }

  #answered(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift())
      if (this.#execute(next)) return
    this.#mustWait = false
    // Queries of an iterated cursor never settle.
    this.#unanswered.clear()
    this.#isIdle = true
    // Not while this ReadyForQuery is being processed, since it is delivered once more.
    if (this.#isOver) queueMicrotask(() => this.#giveBack())
  }

  /**
   * Postgres.js does not expose whether it has marked the connection as ending. At the end of a transaction it checks this itself, and ends
   * the connection or hands it out. Without `release`, each ReadyForQuery outside a transaction counts as such an end.
   */
  #giveBack(): void {
    if (this.#loss !== undefined) return
    const connection = this.#connection
    let isRolledBack = false
    const reserved = (): void => {
      if (isRolledBack) {
        connection.terminate()
        return
      }
      isRolledBack = true
      // An open transaction would include the statements of the next user of the connection.
      this.#executeOwn('ROLLBACK')
    }
    Object.assign(connection, { onclose: null, reserved })
    if (!this.#repeatReady(this.#state)) this.#executeOwn('')
  }

  #executeOwn(text: string): void {
    const query = this.#pool.unsafe(text) as unknown as Query
    // Sent here, not by the pool when the query is awaited.
    query.handler = () => {}
    query.catch(() => {})
    this.#connection.execute(query)
  }

  /** The slot may reconnect from now on. */
  #closed(error: unknown): void {
    const { stream } = closing()
    const loss = closeError(error, stream?.loss ?? stream?.errored ?? undefined)
    this.#loss = { error: loss }
    // Postgres.js has rejected the queries that were sent, but does not know those that waited for them.
    for (const query of this.#unanswered) query.reject(loss)
    this.#unanswered.clear()
    if (!this.#isReleased) this.#onLoss?.()
  }
}

/**
 * All properties of a reserved `sql` in Postgres.js (3.4). Queries are created in the same way everywhere; the handler determines the
 * connection.
 */
function reservedSql(pool: Sql): ReservedSql {
  const sql = (...args: never[]): unknown =>
    (pool as unknown as (...args: never[]) => unknown)(...args)
  const { types, typed, unsafe, notify, array, json, file } = pool
  const release = (): void => {}
  return Object.assign(sql, {
    types,
    typed,
    unsafe,
    notify,
    array,
    json,
    file,
    release,
  }) as unknown as ReservedSql
}

function releasedError(): PgIamError {
  return new PgIamError(
    'ERR_CLOSED',
    'the connection was released, and may already be in use elsewhere',
    {
      hint: 'Await each statement before you call release().',
    },
  )
}

// Identifies the stream that is closing, since Postgres.js reports a closed connection without a reason.

/** A login stream, typed by the properties that both copies of the package have. */
interface ClosingStream {
  readonly loss?: Error | undefined
  readonly errored?: Error | null
  readonly hasUnsent?: boolean
}

/**
 * Registers the stream as the one that is closing during its `close` event. Must be called before any other listener is added: within that
 * event Postgres.js calls its close handlers, with neither the connection nor the reason.
 */
export function announceClosing<T extends ClosingStream & NodeJS.EventEmitter>(stream: T): T {
  stream.once('close', () => {
    closing().stream = stream
    process.nextTick(() => {
      delete closing().stream
    })
  })
  return stream
}

const CLOSING: unique symbol = Symbol.for('pg-iam.closing') as never

/** Shared by the ESM and the CommonJS copy of the package. */
function closing(): { stream?: ClosingStream } {
  const holder = globalThis as { [CLOSING]?: { stream?: ClosingStream } }
  return (holder[CLOSING] ??= {})
}

/** Returns the server's error if there is one, otherwise Postgres.js's error, whose code users know, with the reason as its cause. */
function closeError(error: unknown, loss: Error | undefined): unknown {
  if (loss?.name === 'PostgresError' || isPgIamError(loss)) return loss
  if (loss !== undefined && typeof error === 'object' && error !== null)
    Object.defineProperty(error, 'cause', { value: loss, configurable: true, writable: true })
  return error
}

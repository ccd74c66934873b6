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

// The `sql` of one connection, which refuses statements once its use of the connection is over. Queries are Postgres.js's own.

/** The use of one connection, by a transaction or by whoever has reserved it. */
interface ConnectionUse {
  /** Whether it takes no statements any more. */
  readonly isClosed: boolean
  /** The error for a statement that comes then. */
  readonly tooLate: unknown
  /** Sends a statement of the caller, by `handler` or by a way of its own. */
  send(query: Query, handler: Handler): unknown
}

/** What Postgres.js (3.4) has of a physical connection, in place of a class of its own. */
interface Connection {
  execute(query: Query): unknown
  /** Closes it. It stays in the queue that it is in until its socket is closed, so it must be in one that hands out nothing. */
  terminate(): void
  /** Is called by `sql.end()` and `sql.close()`. Closes it when it is not in use any more. */
  end(): unknown
  /** Is called, within the `close` event of its socket, with an error that only says that it is closed. */
  onclose?: ((error: unknown) => void) | null
  /**
   * Set while it is in use by a transaction or a reservation, and called at each ReadyForQuery when nothing is in flight. Where
   * `release` is not set, ReadyForQuery of a session that is outside of a transaction ends the use in its place: the connection is
   * closed where it is past its age, or handed out.
   */
  reserved?: ((() => unknown) & { release?: boolean }) | null
}

export interface BackendState {
  readonly pid: number | null
  readonly secret: number | null
}

/** What is used of Postgres.js's queries, besides that they are promises. */
interface Query extends Promise<unknown> {
  strings: readonly string[]
  handler: Handler
  /** The process ID and the secret key of its backend; `null` where it has not been sent. */
  readonly state: BackendState | null
  /** `true` where it was cancelled before it was sent. */
  readonly cancelled: unknown
  reject(error: unknown): void
  resolve(value: unknown): void
}

/** Sends a query. Everything that sends one ends here: waiting for it, `execute`, `forEach`, `cursor`, `readable` and the like. */
type Handler = ((query: Query) => unknown) & { debug?: unknown }

/**
 * Guards the queries of `inner`.
 *
 * @param added properties that the guarded one has in place of those of `inner`, or besides them
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
    // What the caller puts in the place of something stays there.
    set: (target, name, value) => {
      replaced.add(name)
      return Reflect.set(target, name, value)
    },
  })
}

/** A query is sent when somebody waits for it, so that is when the connection must be the caller's. */
function guardQuery(query: unknown, use: ConnectionUse, send?: Handler): unknown {
  if (!isQuery(query)) return query
  const { handler } = query
  const guarded: Handler = (sent) => {
    // Rejected already. Postgres.js (3.4) would wait for an answer to it, and send nothing else meanwhile.
    if (sent.cancelled === true) return
    if (use.isClosed) return refuse(sent, use)
    return send === undefined ? use.send(sent, handler) : send(sent)
  }
  // Where it is set, Postgres.js keeps where a query was made for its error.
  guarded.debug = handler.debug
  query.handler = guarded
  return query
}

/** Postgres.js (3.4) reads the file when the query is sent, and asks nobody before it goes on: the use may be over by then. */
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

/** Only who waits for the query hears of it. */
function refuse(query: Query, use: ConnectionUse): void {
  query.catch(() => {})
  query.reject(use.tooLate)
}

function isQuery(value: unknown): value is Query {
  return value instanceof Promise && 'handler' in value
}

// `sql.reserve` of Postgres.js, made safe for connections that age or die while they are reserved. That of Postgres.js (3.4):
// - marks a connection that reaches `max_lifetime` meanwhile as ending. `release()` puts it back among those that are handed out, the
// first query there ends it, and further ones fail with CONNECTION_DESTROYED until its socket is closed;
// - puts back one that died, too. The next query is written to a socket that is null: the process ends. So does it for a query on
// the reserved `sql` itself;
// - sends statements on the reserved `sql` after `release()` in whatever the connection does next;
// - never settles where it waits for a connection and the slot has to connect again, or `fetch_types` is `false`.
// So a connection is reserved here by what Postgres.js has for transactions, which decides correctly when one ends.

/**
 * Has Postgres.js read the ReadyForQuery of an idle connection once more, as if a statement had just ended. Returns `false`, with nothing
 * done, where the session is within a transaction, or the connection is not known.
 */
type RepeatReady = (state: BackendState) => boolean

/**
 * Returns a `reserve` that does the same, but for what happens when the connection ages or dies, and after `release()`: then
 * statements reject with `ERR_CLOSED`, and a transaction that was left open is rolled back.
 */
export function safeReserve(sql: Sql, repeatReady: RepeatReady): Sql['reserve'] {
  const { reserve } = sql
  return async () => {
    // Postgres.js (3.4) then gives out no connection, to no transaction either.
    const { max_pipeline } = sql.options as { max_pipeline?: unknown }
    if (!(Number(max_pipeline) >= 1)) return reserve()
    let isRepeated = false
    for (;;) {
      // An empty query waits for a connection as any other does, also for one that connects again. Where it is behind so many others
      // that Postgres.js does not give out the connection, the next one may not be.
      let reservation: Reservation | undefined
      const onexecute = (connection: Connection): void => {
        reservation = new Reservation(sql, connection, query.state!, repeatReady)
      }
      const query = sql.unsafe('', [], { onexecute } as never) as unknown as Query
      try {
        await query
        if (reservation !== undefined) return reservation.sql
      } catch (error) {
        // A late cancel request, meant for the query before, fails the empty one: the connection lives, and goes back.
        reservation?.release()
        // Or the connection that it waited on has died with the queries before it. Nothing was done yet.
        if (isRepeated || reservation === undefined) throw error
        isRepeated = true
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
  /** The queries that have yet to be answered. */
  readonly #unanswered = new Set<Query>()
  /** Those of them that Postgres.js takes only when all before are answered. */
  readonly #waiting: Query[] = []
  #mustWait = false
  /** Whether all is answered. */
  #isIdle = false
  #isReleased = false
  #isOver = false
  #loss: { error: unknown } | undefined

  /** To be called within `onexecute`. As it returns nothing, Postgres.js gives the connection no other query. */
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

  get tooLate(): unknown {
    return this.#loss === undefined ? released() : this.#loss.error
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

  /** What the caller has sent before is sent, and answered, before the connection is given back. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // Postgres.js (3.4) sends a query one microtask after somebody has begun to wait for it.
    queueMicrotask(() => {
      this.#isOver = true
      if (this.#isIdle) this.#giveBack()
    })
  }

  /** @returns whether it was sent: not where it was cancelled before, or cannot be sent now, during COPY */
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
    // Queries of a cursor that is iterated never settle.
    this.#unanswered.clear()
    this.#isIdle = true
    // Not within the reading of ReadyForQuery, which is to be read once more.
    if (this.#isOver) queueMicrotask(() => this.#giveBack())
  }

  /**
   * Postgres.js does not say whether it has marked the connection as ending. At the end of a transaction it looks itself, and ends the
   * connection or hands it out again. That is each ReadyForQuery outside of a transaction where `release` is not set.
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
      // Left open, the transaction would take in whatever the next one who gets the connection does.
      this.#executeOwn('ROLLBACK')
    }
    Object.assign(connection, { onclose: null, reserved })
    if (!this.#repeatReady(this.#state)) this.#executeOwn('')
  }

  #executeOwn(text: string): void {
    const query = this.#pool.unsafe(text) as unknown as Query
    // It is sent here, and not by the pool when somebody waits for it.
    query.handler = () => {}
    query.catch(() => {})
    this.#connection.execute(query)
  }

  /** The slot may connect again from then on. */
  #closed(error: unknown): void {
    const { stream } = closing()
    const loss = closeError(error, stream?.loss ?? stream?.errored ?? undefined)
    this.#loss = { error: loss }
    // Postgres.js has rejected those that were sent, but does not know of those that waited for them.
    for (const query of this.#unanswered) query.reject(loss)
    this.#unanswered.clear()
  }
}

/** All that Postgres.js (3.4) has on a reserved `sql`. A query is made alike everywhere; where it is sent is decided when it is. */
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

function released(): PgIamError {
  return new PgIamError('ERR_CLOSED', 'the connection was released, and may be in use by others', {
    hint: 'Await each statement before you call release().',
  })
}

// Which stream is closing, for what Postgres.js tells of a closed connection without saying why.

/** A stream of ours, by what the two copies of the package have in common. */
interface ClosingStream {
  readonly loss?: Error | undefined
  readonly errored?: Error | null
  readonly hasUnsent?: boolean
}

/**
 * Has a stream known as the one that is closing, for those who hear of its `close` event. To be called before anybody else listens:
 * Postgres.js tells whoever has a connection that it is closed within that event, and neither which one that is nor why.
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

/** One for the ESM and the CommonJS copy of the package. */
function closing(): { stream?: ClosingStream } {
  const holder = globalThis as { [CLOSING]?: { stream?: ClosingStream } }
  return (holder[CLOSING] ??= {})
}

/** What the server said where it did; else what Postgres.js says, whose code is known to its users, with what happened as its cause. */
function closeError(error: unknown, loss: Error | undefined): unknown {
  if (loss?.name === 'PostgresError' || isPgIamError(loss)) return loss
  if (loss !== undefined && typeof error === 'object' && error !== null)
    Object.defineProperty(error, 'cause', { value: loss, configurable: true, writable: true })
  return error
}

/**
 * `sql.reserve` of Postgres.js, made safe for connections that age or die while they are reserved. That of Postgres.js (3.4):
 *
 * - marks a connection that reaches `max_lifetime` meanwhile as ending. `release()` puts it back among those that are handed out, the
 *   first query there ends it, and further ones fail with CONNECTION_DESTROYED until its socket is closed;
 * - puts back one that died, too. The next query is written to a socket that is null: the process ends. So does it for a query on
 *   the reserved `sql` itself;
 * - sends statements on the reserved `sql` after `release()` in whatever the connection does next;
 * - never settles where it waits for a connection and the slot has to connect again, or `fetch_types` is `false`.
 *
 * So a connection is reserved here by what Postgres.js has for transactions, which decides correctly when one ends.
 */
import type { ReservedSql, Sql } from 'postgres'
import { PgIamError } from '../../core/errors.js'
import { closeError, closing } from './closing-stream.js'
import {
  guardSql,
  type BackendState,
  type Connection,
  type ConnectionUse,
  type Query,
} from './guard-sql.js'

/**
 * Has Postgres.js read the ReadyForQuery of an idle connection once more, as if a statement had just ended. Returns `false`, with nothing
 * done, where the session is within a transaction, or the connection is not known.
 */
export type RepeatReady = (state: BackendState) => boolean

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
    hint: 'Wait for each statement before you call release().',
  })
}

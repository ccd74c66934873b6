/** The `sql` of one connection, which refuses statements once its use of the connection is over. Queries are Postgres.js's own. */
import { readFile } from 'node:fs'
import type { ISql } from 'postgres'

/** The use of one connection, by a transaction or by whoever has reserved it. */
export interface ConnectionUse {
  /** Whether it takes no statements any more. */
  readonly isClosed: boolean
  /** The error for a statement that comes then. */
  readonly tooLate: unknown
  /** Sends a statement of the caller, by `handler` or by a way of its own. */
  send(query: Query, handler: Handler): unknown
}

/** What Postgres.js (3.4) has of a physical connection, in place of a class of its own. */
export interface Connection {
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
export interface Query extends Promise<unknown> {
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
export type Handler = ((query: Query) => unknown) & { debug?: unknown }

/**
 * Guards the queries of `inner`.
 *
 * @param added properties that the guarded one has in place of those of `inner`, or besides them
 */
export function guardSql<T extends ISql>(
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

/** Tracks the connection of one transaction: whether COMMIT was written, and why the connection was lost. */
import { EventEmitter } from 'node:events'
import { isNativeError } from 'node:util/types'
import { lossOf } from '../connection/login-stream.js'
import { isPgIamError, PgIamError } from '../errors.js'
import { sqlStateOf, wrappedErrors } from './is-occ-conflict.js'

export interface TransactionConnection {
  /** `written` until the server has answered. A COMMIT that the caller sends as a statement counts as well. */
  readonly commit: 'none' | 'written' | 'answered'
  /** Why the connection was lost, if possible the server's error; `undefined` while it is not lost. */
  readonly loss: Error | undefined
  /** Stops tracking. The state so far is kept. */
  release(): void
}

/** Tracks the connection of a `pg.Client`. Returns `undefined` if that is not possible, as for a client of `pg-native`. */
export function watchPgClient(client: unknown): TransactionConnection | undefined {
  const { connection } = (client ?? {}) as { connection?: PgConnection }
  if (!(client instanceof EventEmitter) || typeof connection?.query !== 'function') return undefined
  let commit: TransactionConnection['commit'] = 'none'
  let driverError: Error | undefined
  const watchers = watchersOf(connection)
  const committed = (): void => {
    if (isOpen(connection.stream)) commit = 'written'
  }
  const lost = (error: Error): void => void (driverError ??= error)
  const completed = ({ text }: { text: string }): void => {
    if (commit === 'written' && COMMIT_TAG.test(text)) commit = 'answered'
  }
  watchers.add(committed)
  client.on('error', lost)
  connection.on('commandComplete', completed)
  return {
    get commit() {
      return commit
    },
    get loss() {
      // The driver reports a server error that arrives between two queries. The stream has one that arrives at any other time.
      return sqlStateOf(driverError) === undefined ? (lossOf(client) ?? driverError) : driverError
    },
    release() {
      watchers.delete(committed)
      client.off('error', lost)
      connection.off('commandComplete', completed)
    },
  }
}

/** Properties of pg's connection that its types lack. */
interface PgConnection extends EventEmitter {
  readonly stream?: { writable?: boolean; destroyed?: boolean; readyState?: string }
  readonly query?: (text: string) => void
  readonly parsedStatements?: Readonly<Record<string, string>>
}

/** Whether writes to the stream reach a socket. A login stream is `opening` again after its server has disconnected. */
function isOpen({
  writable,
  destroyed,
  readyState,
}: NonNullable<PgConnection['stream']> = {}): boolean {
  return (
    writable !== false && destroyed !== true && readyState !== 'opening' && readyState !== 'closed'
  )
}

/**
 * The callbacks to run just before pg writes a COMMIT.
 *
 * pg (8.23) passes each message to a method of its connection, also for its cursors and streams. These methods are replaced once per
 * connection and not restored: a pool may hand out the connection again before the transaction function has finished.
 */
function watchersOf(connection: PgConnection): Set<() => void> {
  const known = WATCHERS.get(connection)
  if (known !== undefined) return known
  const watchers = new Set<() => void>()
  const committing = new Set<string>()
  const notify = (isCommit: boolean): void => {
    if (isCommit) for (const committed of watchers) committed()
  }
  replace(connection, 'query', (text: string) => {
    if (watchers.size > 0) notify(commits(text))
  })
  replace(connection, 'parse', ({ name, text }: { name?: string; text: string }) => {
    if (name ? !commits(text) : watchers.size === 0 || !commits(text)) return
    if (name) committing.add(name)
    notify(true)
  })
  // pg parses a named statement only once per connection.
  replace(connection, 'bind', ({ statement }: { statement?: string }) => {
    if (!statement || watchers.size === 0) return
    notify(committing.has(statement) || commits(connection.parsedStatements?.[statement]))
  })
  WATCHERS.set(connection, watchers)
  return watchers
}

const WATCHERS = new WeakMap<PgConnection, Set<() => void>>()

function replace(target: object, name: string, see: (message: never) => void): void {
  const method = (target as Record<string, unknown>)[name]
  if (typeof method !== 'function') return
  const value = (...args: unknown[]): unknown => {
    see(args[0] as never)
    return Reflect.apply(method, target, args)
  }
  Object.defineProperty(target, name, {
    value,
    configurable: true,
    writable: true,
    enumerable: false,
  })
}

/** Whether SQL text contains a statement that commits a transaction or prepares it for commit. */
export function commits(text: unknown): boolean {
  if (typeof text !== 'string' || !MAY_COMMIT.test(text)) return false
  // Bodies of functions and of DO are literals and may contain END. A body that starts with BEGIN ATOMIC contains END, too.
  const statements = text.replace(LITERALS_AND_COMMENTS, ' ')
  return COMMITS.test(statements) && !/\bbegin\s+atomic\b/i.test(statements)
}

const MAY_COMMIT = /\b(?:commit|end|prepare)\b/i
const COMMITS = /(?:^|;)\s*(?:commit|end|prepare\s+transaction)\b/i
const LITERALS_AND_COMMENTS =
  /\$(\w*)\$[\s\S]*?\$\1\$|\be'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\//gi
/** The server answers a COMMIT of a failed transaction with ROLLBACK. */
const COMMIT_TAG = /^(?:COMMIT|ROLLBACK|PREPARE TRANSACTION)/

/**
 * Returns the error to reject with, if a client's statement or the function of a transaction has failed with `error`.
 *
 * When the backend of a transaction dies between two statements, pg receives the reason, and the next statement fails with "is not
 * queryable", or with an ORM's error for that. Such an error is replaced with `loss`, whose `cause` it becomes. An error of the caller is
 * not replaced; if its innermost cause is only that the connection is gone, that cause gets `loss` as its own `cause`.
 */
export function attachLoss(loss: Error | undefined, error: unknown): unknown {
  if (loss === undefined || error === loss) return error
  const innermost = innermostOf(error)
  if (!isConnectionGone(innermost)) return error
  const isOfClient = isConnectionGone(error) || isDrizzleError(error)
  if (isOfClient) setCause(loss, error)
  else setCause(innermost, loss)
  return isOfClient ? loss : error
}

function setCause(error: object, cause: unknown): void {
  if (Object.isExtensible(error) && !Object.hasOwn(error, 'cause'))
    Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
}

/** Whether `error` reports a lost connection, by a client's or the server's error. */
export function isLoss(error: unknown, loss: Error | undefined): boolean {
  if (isConnectionGone(innermostOf(error)) || isFatal(error)) return true
  const state = sqlStateOf(error)
  if (state !== undefined) return LOSS_STATES.test(state) || state === codeOf(loss)
  return wrappedErrors(error).some(
    (each) => NETWORK_CODES.test(String(codeOf(each))) || isPgIamError(each, 'ERR_PROTOCOL'),
  )
}

/** Whether the server ended the session with this error, whatever its SQLSTATE, such as 25P03. */
export function isFatal(error: unknown): boolean {
  return wrappedErrors(error).some((each) => {
    const { severity } = each as { severity?: unknown }
    return severity === 'FATAL' || severity === 'PANIC'
  })
}

/**
 * Class 08 is a lost connection; 57P and 58 mean that the server is shutting down; XX000 is Aurora DSQL's "server unavailable". 57014, a
 * cancelled statement, is in class 57 but not a loss.
 */
export const LOSS_STATES: RegExp = /^(?:08|57P|58|XX)/
const NETWORK_CODES = /^(?:CONNECTION_|CONNECT_|E[A-Z]{3,}$)/

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null | undefined)?.code
}

function innermostOf(error: unknown): unknown {
  let innermost = error
  for (let depth = 0; depth < DEEPEST; depth++) {
    const cause = (innermost as { cause?: unknown } | null | undefined)?.cause
    if (cause === undefined) break
    innermost = cause
  }
  return innermost
}

const DEEPEST = 10

/** Matches the messages of pg, which Knex and Sequelize repeat, and of TypeORM. */
function isConnectionGone(error: unknown): error is Error {
  return (
    isNativeError(error) &&
    /not queryable|connection terminated|already released/i.test(error.message)
  )
}

function isDrizzleError(error: unknown): boolean {
  return isNativeError(error) && error.message.startsWith('Failed query: ')
}

// A `pg` client that is limited to one transaction.

export interface ScopedClient<Client> {
  /** The client to use during the transaction. */
  readonly client: Client
  /** Rejects all queries with `ERR_CLOSED`, except COMMIT and ROLLBACK, which an ORM sends through this client. */
  close(): void
  /** Rejects all queries with `ERR_CLOSED`. */
  end(): void
  /** The error of the first query that failed after `close()`: that of COMMIT if a later ROLLBACK failed too. */
  readonly endFailure: unknown
  /** Whether the last query after `close()` succeeded. If not, the state of the connection is unknown. */
  readonly isClean: boolean
}

/**
 * Limits `target` to one transaction. After the transaction, a pooled connection returns to its pool. A late statement, from a promise that
 * was not awaited, would otherwise run in whatever uses the connection next.
 *
 * `release()` has no effect on the returned client: only the owner of `target` may release it.
 */
export function scopeToTransaction<Client extends object>(target: Client): ScopedClient<Client> {
  let isClosed = false
  let isOver = false
  let endFailure: unknown
  let isClean = false
  const send = (query: unknown, args: unknown[]): unknown => {
    const result: unknown = Reflect.apply(query as (...args: unknown[]) => unknown, target, args)
    if (isClosed && result instanceof Promise)
      result.then(
        () => (isClean = true),
        (error: unknown) => {
          endFailure ??= error
          isClean = false
        },
      )
    return result
  }
  const mayQuery = (query: unknown): boolean => !isOver && (!isClosed || endsTransaction(query))
  const client = new Proxy(target, {
    get(_, name) {
      if (name === 'release') return () => {}
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown =>
        name !== 'query' || mayQuery(args[0]) ? send(value, args) : refuse(args)
    },
  })
  return {
    client,
    close: () => {
      isClosed = true
    },
    end: () => {
      isOver = true
    },
    get endFailure() {
      return endFailure
    },
    get isClean() {
      return isClean
    },
  }
}

/** Whether a query, as text or as an object with `text`, only ends a transaction. */
export function endsTransaction(query: unknown): boolean {
  const text = typeof query === 'string' ? query : (query as { text?: unknown } | null)?.text
  return typeof text === 'string' && /^\s*(commit|rollback)\s*;?\s*$/i.test(text)
}

/** Fails as a query would: with the callback, with a promise, or, for a query object, which has its own error handling, by throwing. */
function refuse(args: readonly unknown[]): Promise<never> | undefined {
  const callback = args.find((argument) => typeof argument === 'function') as
    ((error: Error) => void) | undefined
  if (callback !== undefined) {
    process.nextTick(callback, transactionOver())
    return undefined
  }
  if (typeof (args[0] as { submit?: unknown } | undefined)?.submit === 'function')
    throw transactionOver()
  return Promise.reject(transactionOver())
}

/** The error for a statement that is sent after its transaction has ended. */
export function transactionOver(): PgIamError {
  return new PgIamError(
    'ERR_CLOSED',
    'the transaction has ended, so its connection can no longer be used',
    {
      hint: 'Await each statement before the function of the transaction returns.',
    },
  )
}

/** The connection of one transaction: whether COMMIT was written to it, and why it was lost. */
import { EventEmitter } from 'node:events'
import { isNativeError } from 'node:util/types'
import { lossOf } from '../connection/login-stream.js'
import { isPgIamError, PgIamError } from '../errors.js'
import { sqlStateOf, wrappedErrors } from './is-occ-conflict.js'

export interface TransactionConnection {
  /** `written` until the server has answered it. A COMMIT that the caller sends as a statement counts as well. */
  readonly commit: 'none' | 'written' | 'answered'
  /** Why the connection was lost, in the server's words where it sent any; `undefined` while it is not lost. */
  readonly loss: Error | undefined
  /** Ends the watch. What it has seen stays. */
  release(): void
}

/** Watches the connection of a `pg.Client`. Returns `undefined` where there is nothing to watch, such as a client of `pg-native`. */
export function watchPgClient(client: unknown): TransactionConnection | undefined {
  const { connection } = (client ?? {}) as { connection?: PgConnection }
  if (!(client instanceof EventEmitter) || typeof connection?.query !== 'function') return undefined
  let commit: TransactionConnection['commit'] = 'none'
  let heard: Error | undefined
  const watchers = watchersOf(connection)
  const committed = (): void => {
    if (isOpen(connection.stream)) commit = 'written'
  }
  const lost = (error: Error): void => void (heard ??= error)
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
      // The driver has the words of the server that came between two queries; the stream has those of any other moment.
      return sqlStateOf(heard) === undefined ? (lossOf(client) ?? heard) : heard
    },
    release() {
      watchers.delete(committed)
      client.off('error', lost)
      connection.off('commandComplete', completed)
    },
  }
}

/** What pg's connection has, of which its types say nothing. */
interface PgConnection extends EventEmitter {
  readonly stream?: { writable?: boolean; destroyed?: boolean; readyState?: string }
  readonly query?: (text: string) => void
  readonly parsedStatements?: Readonly<Record<string, string>>
}

/** Whether what is written to the stream reaches a socket. A stream of ours says `opening` once its server has left. */
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
 * Those who are told of each COMMIT just before pg writes it.
 *
 * pg (8.23) gives each message to a method of its connection, also for its cursors and streams. These methods are replaced once
 * for each connection that a transaction runs on, and stay so: a pool gives a connection on before its transaction is over here.
 */
function watchersOf(connection: PgConnection): Set<() => void> {
  const known = WATCHERS.get(connection)
  if (known !== undefined) return known
  const watchers = new Set<() => void>()
  const committing = new Set<string>()
  const told = (isCommit: boolean): void => {
    if (isCommit) for (const committed of watchers) committed()
  }
  replace(connection, 'query', (text: string) => {
    if (watchers.size > 0) told(commits(text))
  })
  replace(connection, 'parse', ({ name, text }: { name?: string; text: string }) => {
    if (name ? !commits(text) : watchers.size === 0 || !commits(text)) return
    if (name) committing.add(name)
    told(true)
  })
  // pg parses a named statement once for each connection.
  replace(connection, 'bind', ({ statement }: { statement?: string }) => {
    if (!statement || watchers.size === 0) return
    told(committing.has(statement) || commits(connection.parsedStatements?.[statement]))
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

/** Tells whether SQL text has a statement that ends a transaction by committing it, or by preparing it for that. */
export function commits(text: unknown): boolean {
  if (typeof text !== 'string' || !MAY_COMMIT.test(text)) return false
  // The body of a function or of DO is a literal, and has an END of its own; so has one that begins with BEGIN ATOMIC.
  const statements = text.replace(LITERALS_AND_COMMENTS, ' ')
  return COMMITS.test(statements) && !/\bbegin\s+atomic\b/i.test(statements)
}

const MAY_COMMIT = /\b(?:commit|end|prepare)\b/i
const COMMITS = /(?:^|;)\s*(?:commit|end|prepare\s+transaction)\b/i
const LITERALS_AND_COMMENTS =
  /\$(\w*)\$[\s\S]*?\$\1\$|\be'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\//gi
/** A COMMIT of a failed transaction is answered by ROLLBACK. */
const COMMIT_TAG = /^(?:COMMIT|ROLLBACK|PREPARE TRANSACTION)/

/**
 * Returns the error to reject with, where a client's statement, or the function of a transaction, has failed with `error`.
 *
 * When the backend of a transaction dies between two statements, pg hears why, and the next statement fails with "is not queryable",
 * or with what an ORM makes of that. In the place of such an error comes `loss`, with that as its `cause`. An error of the caller's
 * own stays as it is; where what it wraps says no more than that the connection is gone, that gets `loss` as its `cause`.
 */
export function attachLoss(loss: Error | undefined, error: unknown): unknown {
  if (loss === undefined || error === loss) return error
  const innermost = innermostOf(error)
  if (!saysGone(innermost)) return error
  const isOfClient = saysGone(error) || isDrizzles(error)
  if (isOfClient) setCause(loss, error)
  else setCause(innermost, loss)
  return isOfClient ? loss : error
}

function setCause(error: object, cause: unknown): void {
  if (Object.isExtensible(error) && !Object.hasOwn(error, 'cause'))
    Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
}

/** Tells whether `error` says that the connection is lost, in the words of a client or of the server. */
export function isLoss(error: unknown, loss: Error | undefined): boolean {
  if (saysGone(innermostOf(error)) || isFatal(error)) return true
  const state = sqlStateOf(error)
  if (state !== undefined) return LOSS_STATES.test(state) || state === codeOf(loss)
  return wrappedErrors(error).some(
    (each) => NETWORK_CODES.test(String(codeOf(each))) || isPgIamError(each, 'ERR_PROTOCOL'),
  )
}

/** Tells whether the server ended the session by this error, whatever its SQLSTATE is, such as 25P03. */
export function isFatal(error: unknown): boolean {
  return wrappedErrors(error).some((each) => {
    const { severity } = each as { severity?: unknown }
    return severity === 'FATAL' || severity === 'PANIC'
  })
}

/**
 * Class 08 is a lost connection; 57P and 58 say that the server goes down; XX000 is Aurora DSQL's "server unavailable". 57014,
 * a statement that was cancelled, is of class 57 and no loss.
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

/** By the words of pg, which Knex and Sequelize repeat, and of TypeORM. */
function saysGone(error: unknown): error is Error {
  return (
    isNativeError(error) &&
    /not queryable|connection terminated|already released/i.test(error.message)
  )
}

function isDrizzles(error: unknown): boolean {
  return isNativeError(error) && error.message.startsWith('Failed query: ')
}

// A `pg` client that is lent to a transaction, and to nothing after it.

export interface ScopedClient<Client> {
  /** The client, as long as the transaction lasts. */
  readonly client: Client
  /** Refuses all queries with `ERR_CLOSED`, but for COMMIT and ROLLBACK, which an ORM sends by the client that it was lent. */
  close(): void
  /** Refuses all queries with `ERR_CLOSED`. */
  end(): void
  /** What the first query that failed after `close()` failed with: COMMIT, where a ROLLBACK failed after it. */
  readonly endFailure: unknown
  /** Whether the last query after `close()` went well: if not, nobody knows what state the connection is in. */
  readonly isClean: boolean
}

/**
 * Lends `target` out. A pooled connection goes back to its pool with the transaction; a statement that comes late, from a
 * promise that nobody waited for, would run by itself in whatever that connection does next.
 *
 * To give it back is not the borrower's: `release()` does nothing on it.
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

/** Tells whether a query, as text or as an object with `text`, does nothing but end a transaction. */
export function endsTransaction(query: unknown): boolean {
  const text = typeof query === 'string' ? query : (query as { text?: unknown } | null)?.text
  return typeof text === 'string' && /^\s*(commit|rollback)\s*;?\s*$/i.test(text)
}

/** Fails as a query would: by the callback, by a promise, or for a query object, which reports by itself, at once. */
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

/** The error for a statement that comes when its transaction is over. */
export function transactionOver(): PgIamError {
  return new PgIamError(
    'ERR_CLOSED',
    'the transaction is over, and so is the use of its connection',
    {
      hint: 'Wait for each statement before the function of the transaction returns.',
    },
  )
}

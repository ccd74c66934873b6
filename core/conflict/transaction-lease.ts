/** A `pg` client that is lent to a transaction, and to nothing after it. */
import { PgIamError } from '../errors.js'

export interface TransactionLease<Client> {
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
export function lendToTransaction<Client extends object>(target: Client): TransactionLease<Client> {
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

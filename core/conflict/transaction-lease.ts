/** A `pg` client that is lent to a transaction, and to nothing after it. */
import { PgIamError } from '../errors.js'

export interface TransactionLease<Client> {
  /** The client, as long as the transaction lasts. */
  readonly client: Client
  /** Ends the lease: whatever still holds the client gets `ERR_CLOSED` when it queries with it. */
  end(): void
}

/**
 * Lends `target` out. A pooled connection goes back to its pool with the transaction; a statement that comes late, from a
 * promise that nobody waited for, would run by itself in whatever that connection does next.
 *
 * To give it back is not the borrower's: `release()` does nothing on it.
 */
export function lendToTransaction<Client extends object>(target: Client): TransactionLease<Client> {
  let isOver = false
  const client = new Proxy(target, {
    get(_, name) {
      if (name === 'release') return () => {}
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown =>
        isOver && name === 'query' ? refuse(args) : Reflect.apply(value, target, args)
    },
  })
  return {
    client,
    end: () => {
      isOver = true
    },
  }
}

/** Fails as a query would: by the callback, by a promise, or for a query object, which reports by itself, at once. */
function refuse(args: readonly unknown[]): Promise<never> | undefined {
  const callback = args.find((argument) => typeof argument === 'function') as
    ((error: Error) => void) | undefined
  if (callback !== undefined) {
    process.nextTick(callback, over())
    return undefined
  }
  if (typeof (args[0] as { submit?: unknown } | undefined)?.submit === 'function') throw over()
  return Promise.reject(over())
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

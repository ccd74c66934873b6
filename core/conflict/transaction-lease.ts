/** A connection that is lent to a transaction, and to nothing after it. */
import { PgIamError } from '../errors.js'

export interface TransactionLease<Client> {
  /** The client, as long as the transaction lasts. */
  readonly client: Client
  /** Ends the lease: whatever still holds the client gets `ERR_CLOSED` when it uses it. */
  end(): void
}

/**
 * Lends `target` out. A pooled connection goes back to its pool with the transaction; a statement that comes late, from a
 * promise that nobody waited for, would run by itself in whatever that connection does next.
 */
export function lendToTransaction<Client extends object>(target: Client): TransactionLease<Client> {
  let isOver = false
  const client = new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (isOver) throw over()
        return Reflect.apply(value, target, args)
      }
    },
  })
  return {
    client,
    end: () => {
      isOver = true
    },
  }
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

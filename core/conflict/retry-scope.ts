/** Knows what runs inside of a call that retries, so that nothing is retried twice over. */
import { AsyncLocalStorage } from 'node:async_hooks'

interface RetryScope {
  /** The clients whose transaction is being retried around the current code. */
  readonly clients: ReadonlySet<object>
}

/** Runs `work` as the inside of a retry, of the transaction of `client` where there is one. */
export function insideRetry<T>(work: () => Promise<T>, client?: object): Promise<T> {
  const outer = storage().getStore()?.clients ?? []
  return storage().run(
    { clients: new Set(client === undefined ? outer : [...outer, client]) },
    work,
  )
}

export function isInsideRetry(): boolean {
  return storage().getStore() !== undefined
}

/** Tells whether the current code runs inside of a transaction function's callback for `client`. */
export function isInsideTransactionOf(client: object): boolean {
  return storage().getStore()?.clients.has(client) === true
}

const SCOPE: unique symbol = Symbol.for('pg-iam.retry-scope') as never

/** One storage for the ESM and the CommonJS copy of the package. */
function storage(): AsyncLocalStorage<RetryScope> {
  const holder = globalThis as { [SCOPE]?: AsyncLocalStorage<RetryScope> }
  return (holder[SCOPE] ??= new AsyncLocalStorage<RetryScope>())
}

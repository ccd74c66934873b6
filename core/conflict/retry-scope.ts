/** Knows what runs inside of a call that retries, so that nothing is retried twice over. */
import { AsyncLocalStorage } from 'node:async_hooks'

interface RetryScope {
  /** The client whose transaction is retried around the current code, where it is one. */
  readonly client: object | undefined
  readonly outer: RetryScope | undefined
  /** Code that was started inside, such as a timer, may outlive the call. */
  isOver: boolean
}

/** Runs `work` as the inside of a retry, of the transaction of `client` where there is one. */
export async function insideRetry<T>(work: () => Promise<T>, client?: object): Promise<T> {
  const scope: RetryScope = { client, outer: storage().getStore(), isOver: false }
  try {
    return await storage().run(scope, work)
  } finally {
    scope.isOver = true
  }
}

export function isInsideRetry(): boolean {
  return someScope(() => true)
}

/** Tells whether the current code runs inside of a transaction function's callback for `client`. */
export function isInsideTransactionOf(client: object): boolean {
  return someScope((scope) => scope.client === client)
}

function someScope(matches: (scope: RetryScope) => boolean): boolean {
  for (let scope = storage().getStore(); scope !== undefined; scope = scope.outer)
    if (!scope.isOver && matches(scope)) return true
  return false
}

const SCOPE: unique symbol = Symbol.for('pg-iam.retry-scope') as never

/** One storage for the ESM and the CommonJS copy of the package. */
function storage(): AsyncLocalStorage<RetryScope> {
  const holder = globalThis as { [SCOPE]?: AsyncLocalStorage<RetryScope> }
  return (holder[SCOPE] ??= new AsyncLocalStorage<RetryScope>())
}

/** Logins for Prisma. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { PrismaPg } from '@prisma/adapter-pg'
import type { Pool, PoolClient, PoolConfig } from 'pg'
import { PgIamError } from '../core/errors.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import type { Login } from '../core/login.js'
import { checkClient, checkOptions, numberWithin, oneOf } from '../core/options/check.js'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { isOnlyLevel } from '../core/transactions/only-isolation-level.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  attachLoss,
  type TransactionConnection,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
import { pgConfig } from './pg.js'

/** The options of Prisma's `new PrismaPg(config, options)`, in the installed version. */
export type PrismaAdapterOptions = NonNullable<ConstructorParameters<typeof PrismaPg>[1]>

/**
 * Returns the driver adapter for `new PrismaClient({ adapter })`. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/prisma'`.
 *
 * Migrations are not run by the client, but by Prisma's command, which needs a URL. Its shadow database is not supported:
 * `connectToShadowDb()` rejects.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @param config the options of `pg.Pool`, except address, user, password and TLS, which the login determines
 * @param options the second argument of Prisma's `new PrismaPg()`, such as `{ schema: 'shop' }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function prismaAdapter(
  given: LoginOrUrl,
  config: PoolConfig = {},
  options?: PrismaAdapterOptions,
): PrismaPg {
  const login = loginOf(given)
  refuseOptionsOfPrisma(config)
  const adapter = new LoginAdapter(pgConfig(login, config) as PoolConfig, options)
  return Object.defineProperty(adapter, LOGIN, { value: login })
}

/** pg would ignore the options of the third argument. */
function refuseOptionsOfPrisma(config: object): void {
  const name = OPTIONS_OF_PRISMA.find((option) => Object.hasOwn(config, option))
  if (name === undefined) return
  throw new PgIamError('ERR_OPTION_INVALID', `"${name}" is not an option of pg.Pool`, {
    hint: `Pass it as the third argument: prismaAdapter(login, config, { ${name} }).`,
  })
}

const OPTIONS_OF_PRISMA = [
  'schema',
  'onPoolError',
  'onConnectionError',
  'userDefinedTypeParser',
  'statementNameGenerator',
] as const satisfies readonly (keyof PrismaAdapterOptions)[]

/** Registered symbols are shared by the ESM and the CommonJS copy of the package. */
const LOGIN: unique symbol = Symbol.for('pg-iam.prisma-login') as never
const STARTS: unique symbol = Symbol.for('pg-iam.prisma-starts') as never

type ConnectedAdapter = Awaited<ReturnType<PrismaPg['connect']>>

/** Prisma's own adapter factory, which reports the connection of a transaction before BEGIN, and keeps the errors of connections. */
class LoginAdapter extends PrismaPg {
  override async connect(): Promise<ConnectedAdapter> {
    const adapter = keepErrors(await super.connect())
    const begin = adapter.startTransaction.bind(adapter)
    const { [LOGIN]: login } = this as { [LOGIN]?: Login }
    adapter.startTransaction = async (given) => {
      // Prisma's adapter (7.10) sends it as a statement of its own.
      const level = isOnlyLevel(login, given) ? undefined : given
      const start = starts().getStore()
      const begun =
        start === undefined || start.isOver
          ? begin(level)
          : withConnection(adapter.underlyingDriver(), start, () => begin(level))
      return watchTransaction(await begun.catch((error: unknown) => rethrow(error)))
    }
    return adapter
  }

  /** Tokens are for the login's database, which such a connection would change in place of a shadow database. */
  override async connectToShadowDb(): Promise<never> {
    throw new PgIamError('ERR_OPTION_CONFLICT', 'a shadow database must not be used with a login', {
      hint: "Run Prisma's migrations with a URL, as docs/clients.md describes.",
    })
  }
}

interface Queryable {
  queryRaw(query: unknown): Promise<unknown>
  executeRaw(query: unknown): Promise<unknown>
}

function keepErrors<T extends object>(queryable: T, connection?: TransactionConnection): T {
  const target = queryable as unknown as Queryable
  for (const name of ['queryRaw', 'executeRaw'] as const) {
    const run = target[name].bind(target)
    target[name] = (query) => run(query).catch((error: unknown) => rethrow(error, connection?.loss))
  }
  return queryable
}

type AdapterTransaction = Awaited<ReturnType<ConnectedAdapter['startTransaction']>>

/** If a backend is killed between two statements, pg has the server's error, but the next statement fails with another one. */
function watchTransaction(transaction: AdapterTransaction): AdapterTransaction {
  // Protected in the types.
  const connection = watchPgClient((transaction as unknown as { client?: unknown }).client)
  for (const name of ['commit', 'rollback'] as const) {
    const end = transaction[name].bind(transaction)
    // Prisma (7.10) sends the statement before. This releases the connection.
    transaction[name] = () => {
      connection?.release()
      return end()
    }
  }
  return keepErrors(transaction, connection)
}

/**
 * Prisma (7.10) converts the errors of the server. It replaces any other error, such as that of a token that cannot be obtained, with a new
 * one that has only its `code` and `meta`. The original is lost then, unless it is in `meta`.
 *
 * @param loss why the connection was lost, if it was. Code and message remain those of a lost connection
 */
function rethrow(error: unknown, loss?: Error): never {
  if (!(error instanceof Error) || error.name === 'DriverAdapterError') throw error
  const { code } = error as { code?: unknown }
  throw Object.assign(new Error(error.message, { cause: error }), {
    code: typeof code === 'string' ? code : CONNECTION_CLOSED,
    meta: { cause: attachLoss(loss, error) },
  })
}

/** Prisma's code for "Server has closed the connection". */
const CONNECTION_CLOSED = 'P1017'

/** The part of a `PrismaClient` that `prismaTransaction` uses. Clients of `$extends()` have it too. */
export interface PrismaTransactions {
  $transaction: AnyFunction
}

/** `$transaction` has a type parameter and is overloaded: no more specific type accepts it. */
// oxlint-disable-next-line no-explicit-any
type AnyFunction = (...args: any[]) => any

/** The client that Prisma passes to the function of an interactive transaction, such as `PrismaTransaction<typeof prisma>`. */
export type PrismaTransaction<TClient extends PrismaTransactions> =
  TClient['$transaction'] extends (
    fn: (transaction: infer TTransaction) => Promise<never>,
    ...options: never
  ) => unknown
    ? TTransaction
    : never

/** The options of Prisma's interactive transactions, and the retry options. */
export interface PrismaTransactionOptions extends RetryOptions {
  /** Default: the client's `transactionOptions`, otherwise the server's. */
  isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable'
  /** The maximum time to wait for a connection, in milliseconds. It includes opening one. Default: Prisma's, 2,000. */
  maxWait?: number
  /** The maximum duration of an attempt, in milliseconds. Prisma then rolls it back. Default: Prisma's, 5,000. */
  timeout?: number
}

/**
 * Runs `fn` in an interactive transaction of Prisma, and retries it as a whole after a conflict. Prisma itself retries nothing, and its time
 * limits apply to each attempt.
 *
 * Exported from `'pg-iam/prisma'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param prisma a `PrismaClient` with an adapter of `prismaAdapter`, or one derived from it by `$extends()`
 * @param options those of `prisma.$transaction()`, and the retry options
 */
export async function prismaTransaction<TClient extends PrismaTransactions, T>(
  prisma: TClient,
  fn: (transaction: PrismaTransaction<TClient>) => Promise<T>,
  options: PrismaTransactionOptions = {},
): Promise<T> {
  checkClient(prisma, 'prisma', ['$transaction'], 'a PrismaClient')
  const { retry, own } = splitRetryOptions(options)
  const limits = checkOptions(own, LIMIT_CHECKS)
  const adapter = adapterOf(prisma)
  return runTransaction<PrismaTransaction<TClient>, T>({
    // Clients derived from each other share an adapter.
    client: adapter ?? prisma,
    login: (adapter as { [LOGIN]?: Login } | undefined)?.[LOGIN],
    isNested: isTransaction(prisma),
    retry,
    fn,
    attempt: async (work, connected) => {
      const start: Start = { connected, isOver: false }
      try {
        return (await starts().run(start, () => prisma.$transaction(work, limits))) as T
      } finally {
        start.isOver = true
      }
    },
  })
}

const LIMIT_CHECKS = {
  ...RETRY_CHECKS,
  isolationLevel: oneOf('ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'),
  maxWait: numberWithin(1, 2 ** 31 - 1, 'milliseconds'),
  timeout: numberWithin(1, 2 ** 31 - 1, 'milliseconds'),
} as const

/** Prisma's client of a transaction has no `$connect`. */
function isTransaction(prisma: object): boolean {
  return typeof (prisma as { $connect?: unknown }).$connect !== 'function'
}

/** Prisma (7.10) has no public property for the adapter of a client. Without it, only the login's counters and defaults are unknown. */
function adapterOf(prisma: object): object | undefined {
  const { _engineConfig } = prisma as { _engineConfig?: { adapter?: unknown } }
  const adapter = _engineConfig?.adapter
  return typeof adapter === 'object' && adapter !== null ? adapter : undefined
}

// The connection of a transaction, before BEGIN.

/** A transaction that Prisma is about to start, or has started. */
interface Start {
  readonly connected: (connection: TransactionConnection | undefined) => void
  /** Whether the connection is known, or no longer needed: Prisma's `maxWait` may have passed. */
  isOver: boolean
}

function starts(): AsyncLocalStorage<Start> {
  const holder = globalThis as { [STARTS]?: AsyncLocalStorage<Start> }
  return (holder[STARTS] ??= new AsyncLocalStorage<Start>())
}

/**
 * Calls `begin`, which gets a connection of `pool` and begins a transaction on it, and reports that connection. Prisma's adapter (7.10) calls
 * `connect` of its pool during the call of `begin`, so the method is only replaced until `begin` returns.
 */
function withConnection<T>(pool: Pool, start: Start, begin: () => Promise<T>): Promise<T> {
  const before = Object.getOwnPropertyDescriptor(pool, 'connect')
  const connect = pool.connect.bind(pool) as () => Promise<PoolClient>
  const reported = async (): Promise<PoolClient> => {
    const client = await connect()
    if (!start.isOver) start.connected(watchPgClient(client))
    start.isOver = true
    return client
  }
  Object.defineProperty(pool, 'connect', { value: reported, configurable: true, writable: true })
  try {
    return begin()
  } finally {
    if (before === undefined) Reflect.deleteProperty(pool, 'connect')
    else Object.defineProperty(pool, 'connect', before)
  }
}

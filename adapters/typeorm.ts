/** Logins for TypeORM. */
import * as pg from 'pg'
import type { DataSource, DataSourceOptions, EntityManager } from 'typeorm'
import {
  RETRY_CHECKS,
  splitRetryOptions,
  type RetryOptions,
} from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import {
  watchPgClient,
  type TransactionConnection,
} from '../core/conflict/transaction-connection.js'
import {
  checkDriverOptions,
  OWNED_OF_PG,
  type OwnedByLogin,
} from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  loginOfFactory,
  markWithLogin,
} from '../core/connection/stream-factory.js'
import { PgIamError } from '../core/errors.js'
import type { Explicit } from '../core/explicit.js'
import type { Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { checkClient, checkOptions, isPlainObject, oneOf } from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { describeValue } from '../core/redact.js'
import { unverified, weakens, type VerifiedTls } from '../core/tls/verified-tls.js'
import { answerPasswordRequest } from './typeorm/answer-password-request.js'
import { lendRunner } from './typeorm/lend-runner.js'
import {
  addressOf,
  checkReplication,
  poolOfLogins,
  replicated,
  type TypeormReplication,
} from './typeorm/replication.js'
import { drawnLifetime } from './pg/drawn-lifetime.js'

export type { TypeormReplication } from './typeorm/replication.js'

/** TypeORM's options for PostgreSQL. */
export type TypeormPostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>

/** The same, with logins where TypeORM takes the addresses of replicas. */
export interface TypeormLoginOptions extends Partial<Omit<TypeormPostgresOptions, 'replication'>> {
  replication?: TypeormReplication
}

/**
 * Options that frameworks take beside TypeORM's own, in the same object: `@nestjs/typeorm` (10 and 11) and typeorm-extension (3).
 * They are passed on as they are. For another framework name its options: `typeormOptions<TheirOptions>(login, options)`.
 */
export interface TypeormFrameworkOptions {
  autoLoadEntities?: boolean
  keepConnectionAlive?: boolean
  manualInitialization?: boolean
  name?: string
  retryAttempts?: number
  /** Milliseconds. */
  retryDelay?: number
  toRetry?(error: unknown): boolean
  verboseRetryLog?: boolean
  factories?: ClassOrFiles[]
  factoriesLoad?: boolean
  seedName?: string
  seeds?: ClassOrFiles[]
  seedTracking?: boolean
}

/** A class, or a path. Each framework has a type of its own for the class, and goes on to take what is given here. */
// oxlint-disable-next-line no-explicit-any
type ClassOrFiles = any

/**
 * Returns the options for `new DataSource()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * @param given where TypeORM writes to, and reads from unless `options` name replicas: a login, or a URL for {@link loginFromUrl}
 * @param options whatever `new DataSource()` takes for PostgreSQL, but for the address, the user, the password and TLS, which are
 * the login's; read replicas are given as logins or URLs, `replication: { slaves: [login] }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function typeormOptions<Framework extends object = {}>(
  given: LoginOrUrl,
  options?: (Partial<TypeormPostgresOptions> | TypeormLoginOptions) &
    TypeormFrameworkOptions &
    Explicit<Framework>,
): TypeormPostgresOptions & TypeormFrameworkOptions & Explicit<Framework>
export function typeormOptions(
  given: LoginOrUrl,
  options: Partial<TypeormPostgresOptions> | TypeormLoginOptions = {},
): TypeormPostgresOptions {
  const login = loginOf(given)
  refuseOtherDatabases(options)
  const { replication: givenReplication, ...rest } = options
  const replication = checkReplication(givenReplication)
  const { extra = {} } = options as { extra?: Extra }
  checkDriverOptions(login, rest, OWNED)
  checkDriverOptions(login, extra, OWNED_OF_PG, 'extra.')
  const parameters = [
    ...givenParameters(rest, { applicationName: 'application_name' }),
    ...givenParameters(extra, PG_STARTUP_OPTIONS, 'extra.'),
  ]
  const tlsOf = (own: Login): VerifiedTls => {
    const tls = checkDriverOptions(own, extra, TLS_OWNED, 'extra.')
    return tls.ca === undefined ? checkDriverOptions(own, rest, TLS_OWNED) : tls
  }
  // Without `native`: TypeORM takes pg-native wherever that is installed, and it knows no `stream`.
  const driver = (options.driver ?? { ...pg, native: undefined }) as typeof pg
  return {
    ...rest,
    type: 'postgres',
    ...addressOf(login),
    ...replicated(login, replication),
    driver:
      replication === undefined
        ? driver
        : { ...driver, Pool: poolOfLogins(driver.Pool, tlsOf, parameters) },
    extra: {
      ...drawnLifetime(login),
      ...extra,
      // `extra` beats the options above it. Both are said aloud, because pg reads PGSSLMODE and PGSSLNEGOTIATION where they
      // are left out.
      ssl: false,
      sslnegotiation: 'postgres',
      stream: createStreamFactory(login, { tls: tlsOf(login), given: parameters }),
    },
  }
}

/** TypeORM's types refuse it, too. But options are often read from a file, or from the environment. */
function refuseOtherDatabases({ type }: { type?: unknown }): void {
  if (type === undefined || type === 'postgres') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"type" must be "postgres" beside a login, got ${describeValue(type)}`,
  )
}

/**
 * Returns a password function for `new DataSource({ password })`: a token for each physical connection.
 *
 * Host, user and TLS stay yours, so prefer `typeormOptions`, which takes them from the login and keeps them verified.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * The function rejects with `ERR_TLS_UNVERIFIED` where the connection has no verified TLS, and as the login's `token()`.
 */
export function typeormPassword(given: LoginOrUrl): () => Promise<string> {
  const login = loginOf(given)
  // pg calls it as a method of the client, with the parameters of the connection; TypeORM's type says neither.
  async function password(this: unknown, ...connection: unknown[]): Promise<string> {
    const [parameters] = connection
    return answerPasswordRequest({ client: this, parameters }, async () => {
      if (isPlainObject(parameters)) refuseWeakTls(parameters)
      return login.password()
    })
  }
  return markWithLogin(password, login)
}

function refuseWeakTls({ ssl }: { ssl?: unknown }): void {
  if (ssl === undefined || weakens(ssl)) throw unverified('ssl')
}

/** How a transaction begins, and how it is retried. */
export interface TypeormTransactionOptions extends RetryOptions {
  /** Default: the server's. */
  isolationLevel?: 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE'
}

/**
 * Runs `fn` in a transaction of TypeORM, and again as a whole when it met a conflict.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried.
 */
export async function typeormTransaction<T>(
  dataSource: DataSource,
  fn: (manager: EntityManager) => Promise<T>,
  options: TypeormTransactionOptions = {},
): Promise<T> {
  checkClient(dataSource, 'dataSource', ['createQueryRunner'], 'what new DataSource() returns')
  const { retry, own } = splitRetryOptions(options)
  const { isolationLevel } = checkOptions(own, TRANSACTION_CHECKS)
  return runTransaction({
    client: dataSource,
    login: loginOfDataSource(dataSource),
    retry,
    fn,
    attempt: (work, connected) => runOnRunner(dataSource, isolationLevel, work, connected),
  })
}

/** On a runner that is made here, because that of `dataSource.transaction()` is not known before BEGIN. */
async function runOnRunner<T>(
  dataSource: DataSource,
  isolationLevel: TypeormTransactionOptions['isolationLevel'],
  work: (manager: EntityManager) => Promise<T>,
  connected: (connection: TransactionConnection | undefined) => void,
): Promise<T> {
  const runner = dataSource.createQueryRunner()
  try {
    connected(watchPgClient(await runner.connect()))
    const lent = async (manager: EntityManager): Promise<T> => {
      const lease = lendRunner(runner)
      try {
        return await work(manager)
      } finally {
        lease.end()
      }
    }
    return await (isolationLevel === undefined
      ? runner.manager.transaction(lent)
      : runner.manager.transaction(isolationLevel, lent))
  } finally {
    await runner.release()
  }
}

function loginOfDataSource({ options }: DataSource): Login | undefined {
  const { extra, password } = (options ?? {}) as { extra?: Extra; password?: unknown }
  return loginOfFactory(extra?.['stream']) ?? loginOfFactory(password)
}

const TRANSACTION_CHECKS = {
  ...RETRY_CHECKS,
  isolationLevel: oneOf('READ UNCOMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'),
} as const

type Extra = Record<string, unknown>

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  username: 'user',
  database: 'database',
  password: 'password',
  url: 'url',
  ssl: 'tls',
}

const TLS_OWNED: Readonly<Record<string, OwnedByLogin>> = { ssl: 'tls' }

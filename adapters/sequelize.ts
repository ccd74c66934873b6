/** Logins for Sequelize 6. */
import type { Options, Sequelize, Transaction, TransactionOptions } from 'sequelize'
import { splitRetryOptions, type RetryOptions } from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  isPastLifetime,
  loginOfFactory,
  markWithLogin,
} from '../core/connection/stream-factory.js'
import { PgIamError } from '../core/errors.js'
import { invalidOption } from '../core/options/check.js'
import type { Login } from '../core/login.js'
import type { VerifiedTls } from '../core/tls/verified-tls.js'

/**
 * Returns the options for `new Sequelize()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * @param options whatever `new Sequelize()` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function sequelizeOptions(login: Login, options: Options = {}): Options {
  refuseOtherPaths(options)
  const tls = loginTls(login, options, options.dialectOptions ?? {})
  const { ssl: _ssl, ...rest } = options
  return {
    ...KNOWN_VERSION,
    ...(options.timezone === undefined ? { keepDefaultTimezone: true } : {}),
    ...rest,
    dialect: 'postgres',
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    pool: { ...options.pool, validate: validator(options.pool?.validate) },
    dialectOptions: {
      // `SET client_min_messages` on each connection is refused by some servers, Aurora DSQL among them.
      clientMinMessages: 'ignore',
      ...withLogin(options.dialectOptions, login, tls),
    },
  }
}

/**
 * Returns a `beforeConnect` hook, for `new Sequelize({ hooks: { beforeConnect } })` or `addHook('beforeConnect', ...)`, that
 * logs every physical connection in with a token of its own. Where it goes, and as whom, is what the login says.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * The hook throws `ERR_OPTION_CONFLICT` where a password is configured too, and `ERR_TLS_UNVERIFIED` where
 * `dialectOptions.ssl` would weaken TLS; that fails the connection with this error.
 */
export function sequelizeHook(login: Login): (config: SequelizeConnectionConfig) => void {
  const prepare = (config: SequelizeConnectionConfig): void => {
    // One object serves all connections of a pool: it is prepared once.
    if (loginOfFactory(streamOf(config)) === login) return
    refuseOtherPaths(config)
    // Sequelize fills in a host of its own where none is given, so only what cannot be a default is compared.
    const given = { ...config.dialectOptions, password: config.password }
    const tls = checkDriverOptions(login, given, HOOK_OWNED)
    Object.assign(config, { host: login.host, port: login.port, database: login.database })
    if (login.user !== undefined) config.username = login.user
    config.dialectOptions = withLogin(config.dialectOptions, login, tls)
  }
  return markWithLogin(prepare, login)
}

/**
 * Runs `fn` in a transaction of Sequelize, and again as a whole when it met a conflict. Hooks that `fn` registers by
 * `transaction.afterCommit()` run once, after the commit that happened.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost during COMMIT; then nothing is retried.
 *
 * @param options those of `sequelize.transaction()`, and those of the retry
 */
export async function sequelizeTransaction<T>(
  sequelize: Sequelize,
  fn: (transaction: Transaction) => PromiseLike<T>,
  options: TransactionOptions & RetryOptions = {},
): Promise<T> {
  const { retry, own } = splitRetryOptions(options)
  let committed: (() => Promise<void>) | undefined
  const result = await runTransaction({
    client: sequelize,
    login: loginOfSequelize(sequelize),
    isNested: own.transaction !== undefined && own.transaction !== null,
    retry,
    fn,
    attempt: (work) =>
      sequelize.transaction(own, async (transaction) => {
        committed = keepAfterCommit(transaction)
        const { connection } = transaction as { connection?: unknown }
        return work(transaction, connection)
      }),
  })
  await committed?.()
  return result
}

/** Sequelize has no lifetime, but asks before it hands a connection out. A function given replaces its own, which is repeated here. */
function validator(
  given: ((client?: unknown) => boolean) | undefined,
): (client?: unknown) => boolean {
  return (client) => {
    const { _invalid, _ending } = client as { _invalid?: boolean; _ending?: boolean }
    return (
      _invalid !== true && _ending !== true && !isPastLifetime(client) && (given?.(client) ?? true)
    )
  }
}

/** Sequelize works on its own copy of the options. A hook leaves its traces there with the first connection. */
function loginOfSequelize(sequelize: Sequelize): Login | undefined {
  const { connectionManager, options } = sequelize as unknown as SequelizeInternals
  const given = options?.hooks?.beforeConnect ?? []
  const hooks = given.map((hook) => loginOfFactory(typeof hook === 'function' ? hook : hook.fn))
  return (
    loginOfFactory(streamOf(connectionManager?.config)) ??
    hooks.find((login) => login !== undefined)
  )
}

interface SequelizeInternals {
  connectionManager?: { config?: SequelizeConnectionConfig }
  /** A hook that was added under a name is an object. */
  options?: { hooks?: { beforeConnect?: (object & { fn?: unknown })[] } }
}

function streamOf(config: SequelizeConnectionConfig | undefined): unknown {
  return (config?.dialectOptions as { stream?: unknown } | undefined)?.stream
}

/**
 * Takes the hooks over: Sequelize runs them after a commit that failed, too. What one of them throws must not look like a
 * failed transaction, so they run when it is over.
 */
function keepAfterCommit(transaction: Transaction): () => Promise<void> {
  const hooks: ((transaction: Transaction) => void | Promise<void>)[] = []
  transaction.afterCommit = (hook: (transaction: Transaction) => void | Promise<void>): void => {
    if (typeof hook !== 'function') throw invalidOption('afterCommit', 'a function', hook)
    hooks.push(hook)
  }
  return async () => {
    // In turn, as Sequelize runs them.
    for (const hook of hooks) await hook.call(transaction, transaction)
  }
}

/** What the hook touches of Sequelize's connection configuration. */
export interface SequelizeConnectionConfig {
  host?: string
  port?: string | number
  database?: string
  username?: string
  password?: string | null
  native?: boolean
  dialectOptions?: object
}

/**
 * Without a version Sequelize opens a connection more, only to ask for it; it chooses nothing by versions this new.
 * The option is documented, and missing in its types.
 */
const KNOWN_VERSION: object = { databaseVersion: '16.0.0' }

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  username: 'user',
  database: 'database',
  password: 'password',
}

const DIALECT_OWNED: Readonly<Record<string, OwnedByLogin>> = { ssl: 'tls', stream: 'socket' }

const HOOK_OWNED: Readonly<Record<string, OwnedByLogin>> = {
  password: 'password',
  ...DIALECT_OWNED,
}

function loginTls(login: Login, options: Options, dialectOptions: object): VerifiedTls {
  // Sequelize does nothing about a top-level `ssl`, but whoever wrote `ssl: false` meant something.
  checkDriverOptions(login, { ...options }, { ...OWNED, ssl: 'tls' })
  return checkDriverOptions(login, dialectOptions, DIALECT_OWNED, 'dialectOptions.')
}

function withLogin(dialectOptions: object | undefined, login: Login, tls: VerifiedTls): object {
  // `ssl` is said aloud, because pg reads PGSSLMODE where it is left out, and would start TLS inside of TLS.
  return {
    ...dialectOptions,
    ssl: false,
    stream: createStreamFactory(login, { tls, retiresWhenIdle: true, isUnattended: asksForTypes }),
  }
}

/** Sequelize asks for ranges and enums on its first connections, and leaks one on which that fails. */
function asksForTypes(request: Buffer): boolean {
  return request.includes('WITH ranges AS')
}

/** libpq opens its connections itself, and a replication set has several addresses. */
function refuseOtherPaths({
  native,
  replication,
}: {
  native?: boolean
  replication?: unknown
}): void {
  if (native === true) {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"native" must not be true beside a login', {
      hint: 'Use the JavaScript driver, pg.',
    })
  }
  if (replication !== undefined && replication !== null && replication !== false) {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"replication" must not be given beside a login', {
      hint: 'Make one Sequelize instance per login.',
    })
  }
}

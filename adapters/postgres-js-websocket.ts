/** Logins for Postgres.js over WebSocket, for places without TCP. */
import postgres, { type PostgresType, type Sql } from 'postgres'
import { connectionCheck as checkConnections } from '../core/connection/connection-check.js'
import { webSocketDial } from '../core/connection/web-socket-dial.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import {
  boolean,
  checkOptions,
  functionOf,
  invalidOption,
  isPlainObject,
  text,
} from '../core/options/check.js'
import { createSqlOf, type PostgresJsOptions } from './postgres-js/instance.js'

export { sqlTransaction } from './postgres-js.js'
export type { SqlTransactionOptions, TransactionResult } from './postgres-js.js'

/** The options of `postgres()`, and those for WebSockets. */
export type WebSocketSqlOptions<T extends Record<string, PostgresType> = {}> =
  PostgresJsOptions<T> & {
    /**
     * Whether `select 1` is sent before a query on a connection that has been idle for a second, so that a lost network is noticed after five
     * seconds. Not sent in a transaction, in a pipeline, or during COPY. Default `false`.
     */
    connectionCheck?: boolean
    /** What `onReservedConnectionClose` is called with. Default: a random UUID. */
    connectionId?: string
    /** Called when a connection from `sql.reserve()` is lost before its release. Its argument is `connectionId`. */
    onReservedConnectionClose?: (connectionId: string) => void
  }

/**
 * Returns a Postgres.js instance whose connections are WebSockets to `wss://HOST:443`, or to the login's `connectTo`. Each has its own
 * token. Otherwise it is as `createSql` of `pg-iam/postgres-js` returns it.
 *
 * In Node it needs the package `ws`, or Node 22 and a login without `tls.ca`. In a browser TLS is verified by the browser,
 * and `connectTo` must be the same host or a loopback address.
 *
 * Exported from `'pg-iam/postgres-js-websocket'`.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param options the options of `postgres()`, except address, user, password and TLS, which the login determines
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options, or options that the login
 * determines. Queries reject with `ERR_PEER_MISSING` without a WebSocket, and with the reason and code of a WebSocket that closes.
 */
export function createWebSocketSql<T extends Record<string, PostgresType> = {}>(
  login: LoginOrUrl,
  options: WebSocketSqlOptions<T> = {},
): Sql<
  Record<string, PostgresType> extends T ? {} : { [Name in keyof T]: ReturnType<T[Name]['parse']> }
> {
  const known = loginOf(login)
  if (!isPlainObject(options as unknown)) throw invalidOption('options', 'an object', options)
  const { connectionCheck, connectionId, onReservedConnectionClose, ...own } = options
  const checked = checkOptions({ connectionCheck, connectionId, onReservedConnectionClose }, CHECKS)
  const id = checked.connectionId ?? crypto.randomUUID()
  return createSqlOf(postgres, known, own as PostgresJsOptions<T>, {
    dial: webSocketDial(known),
    ...(checked.connectionCheck === true && { through: checkConnections(CHECK) }),
    onReservedLoss: () => checked.onReservedConnectionClose?.(id),
  }) as never
}

const CHECKS = {
  connectionCheck: boolean,
  connectionId: text,
  onReservedConnectionClose: functionOf<(connectionId: string) => void>(),
} as const

const CHECK = { idleMs: 1_000, timeoutMs: 5_000 }

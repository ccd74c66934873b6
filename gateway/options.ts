/** The options of a gateway, checked and with their defaults. */
import { randomInt } from 'node:crypto'
import { PgIamError } from '../core/errors.js'
import { logger, type Logger } from '../core/logger.js'
import {
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  oneOf,
  text,
  type Check,
  type Checked,
} from '../core/options/check.js'
import { clusterNames } from './auth/aurora-dsql/endpoint.js'
import { principalList } from './auth/aws/principal-options.js'
import type { PrincipalOptions } from './auth/aws/principals.js'
import { endpointList, refuseAmbiguousEndpoints } from './auth/endpoint-list.js'
import { rolesNamedIn, type EndpointOptions } from './auth/endpoints.js'
import { roleNames } from './auth/role-names.js'
import { upstreamAddress, type UpstreamOptions } from './engines/upstream/upstream-address.js'

export interface GatewayOptions {
  /** The loopback address to listen on. Default `127.0.0.1`; no other kind of address is accepted. */
  host?: string
  /** The port to listen on. Default 0, which takes a free one. */
  port?: number
  /**
   * What the gateway stands for: databases of one or more providers. Those without a listener of their own share the
   * gateway's, where the server name of the client's TLS handshake chooses between them.
   */
  endpoints?: readonly EndpointOptions[]
  /**
   * The short form for Aurora DSQL: the endpoint names of its clusters, such as `abc….dsql.us-east-1.on.aws`. Each names its
   * region. Default: one made-up name, where no `endpoints` are given.
   */
  clusters?: readonly string[]
  /** The AWS principals that may log in where an endpoint has none of its own. Default: a made-up one that may use every role. */
  principals?: readonly PrincipalOptions[]
  /** The database roles that exist. `admin` always does. Default: `app`, and all that principals and endpoints name. */
  roles?: readonly string[]
  /** The one database. Default `postgres`, as on Aurora DSQL. */
  database?: string
  /** What stands behind the gateway. Default `pglite`, or `upstream` when that is given. */
  engine?: 'pglite' | 'upstream'
  /** A real PostgreSQL, as an object or a `postgres://` URL. */
  upstream?: UpstreamOptions | string
  /** PGlite: where the data is kept. Default: in memory. */
  dataDirectory?: string
  /** PGlite: where a prepared data directory is kept, which makes the next start fast. Default: in the user's cache folder. */
  cacheDirectory?: string
  /** PGlite: how long a client waits for its turn, in milliseconds, from 1 to 3,600,000. Default 10,000. */
  lockTimeoutMs?: number
  /**
   * PGlite: how long a client may be idle in a transaction while others wait, in milliseconds, from 1 to 3,600,000. Default
   * 5,000.
   */
  idleInTransactionTimeoutMs?: number
  /** How long a login may take, from the first byte to the session, in milliseconds, from 1 to 600,000. Default 10,000. */
  loginTimeoutMs?: number
  /** How many sessions may be open, from 1 to 65,535. Default 10,000, as on Aurora DSQL. */
  maxConnections?: number
  /**
   * How many connections may be open that have not logged in yet, from 1 to 65,535. One more closes the oldest of them. Default 1,000,
   * the burst of new connections that Aurora DSQL takes.
   */
  maxPendingLogins?: number
  /**
   * How many bytes of memory, for all clients together, may hold messages that have not come whole or that the engine has not taken,
   * from 65,536 to 4,294,967,296. A longer message ends its session with SQLSTATE 54000; where several together are too long, 53200
   * ends the one that holds most. Default 268,435,456, which is 256 MiB.
   */
  maxBufferedBytes?: number
  /** Where the gateway says why it refused a login, among other things. Default: nowhere. */
  logger?: Logger
  /** The time by which tokens are judged, in epoch milliseconds. Default `Date.now`. */
  clock?: () => number
}

/** The options of the PGlite engine, as far as they were given. */
export interface PgliteSettings {
  dataDirectory?: string
  cacheDirectory?: string
  lockTimeoutMs?: number
  idleInTransactionTimeoutMs?: number
}

export interface GatewaySettings {
  host: string
  port: number
  /** At least one. */
  endpoints: readonly EndpointOptions[]
  /** Empty where none was given. */
  principals: readonly PrincipalOptions[]
  roles: readonly string[]
  database: string
  engine: { upstream: UpstreamOptions } | { pglite: PgliteSettings }
  loginTimeoutMs: number
  maxConnections: number
  maxPendingLogins: number
  maxBufferedBytes: number
  logger: Logger
  clock: () => number
}

/** Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`, naming the option. */
export function gatewaySettings(given: GatewayOptions): GatewaySettings {
  const options = checkOptions(given, CHECKS)
  const endpoints = endpointsOf(options)
  const named = rolesNamedIn(endpoints, options.principals)
  return {
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    endpoints,
    principals: options.principals ?? [],
    roles: [...new Set(['admin', ...(options.roles ?? ['app', ...named])])],
    database: options.database ?? 'postgres',
    engine: engineSettings(options),
    loginTimeoutMs: options.loginTimeoutMs ?? 10_000,
    maxConnections: options.maxConnections ?? 10_000,
    maxPendingLogins: options.maxPendingLogins ?? 1_000,
    maxBufferedBytes: options.maxBufferedBytes ?? 268_435_456,
    logger: options.logger ?? SILENT,
    clock: options.clock ?? Date.now,
  }
}

const loopback: Check<string> = (value, name) => {
  if (typeof value !== 'string' || !/^(127(\.\d{1,3}){3}|::1|localhost)$/.test(value))
    throw invalidOption(name, 'a loopback address such as "127.0.0.1"', value)
  return value
}

const timeout = integerWithin(1, 3_600_000, 'milliseconds')

const PGLITE_CHECKS = {
  dataDirectory: text,
  cacheDirectory: text,
  lockTimeoutMs: timeout,
  idleInTransactionTimeoutMs: timeout,
} as const

const CHECKS = {
  host: loopback,
  port: integerWithin(0, 65_535, 'the port number'),
  endpoints: endpointList,
  clusters: clusterNames,
  principals: principalList,
  roles: roleNames,
  database: text,
  engine: oneOf('pglite', 'upstream'),
  upstream: upstreamAddress,
  ...PGLITE_CHECKS,
  loginTimeoutMs: integerWithin(1, 600_000, 'milliseconds'),
  maxConnections: integerWithin(1, 65_535, 'connections'),
  maxPendingLogins: integerWithin(1, 65_535, 'connections'),
  maxBufferedBytes: integerWithin(65_536, 4_294_967_296, 'bytes'),
  logger,
  clock: functionOf<() => number>(),
} as const

function endpointsOf({ endpoints, clusters, port = 0 }: Checked<typeof CHECKS>): EndpointOptions[] {
  const short = clusters ?? (endpoints === undefined ? [randomCluster()] : [])
  const all = [
    ...(short.length === 0
      ? []
      : [{ name: 'clusters', options: { provider: 'aurora-dsql', hosts: short } as const }]),
    ...(endpoints ?? []).map((options, index) => ({ name: `endpoints[${index}]`, options })),
  ]
  refuseAmbiguousEndpoints(all, port)
  return all.map(({ options }) => options)
}

function engineSettings(
  options: PgliteSettings & { engine?: 'pglite' | 'upstream'; upstream?: UpstreamOptions },
): GatewaySettings['engine'] {
  const { engine, upstream } = options
  const pglite: PgliteSettings = Object.fromEntries(
    Object.keys(PGLITE_CHECKS).flatMap((key) => {
      const value = options[key as keyof PgliteSettings]
      return value === undefined ? [] : [[key, value]]
    }),
  )
  if (engine === 'upstream' && upstream === undefined) {
    throw new PgIamError('ERR_OPTION_INVALID', '"upstream" must be given with engine "upstream"')
  }
  if (upstream === undefined) return { pglite }
  if (engine === 'pglite') {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"upstream" must not be given with engine "pglite"')
  }
  const [alien] = Object.keys(pglite)
  if (alien !== undefined) {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${alien}" must not be given with "upstream"`, {
      hint: 'It is an option of the engine "pglite".',
    })
  }
  return { upstream }
}

/** A cluster ID has 26 lower-case letters and digits. */
function randomCluster(): string {
  const id = Array.from({ length: 26 }, () => ALPHANUMERIC[randomInt(ALPHANUMERIC.length)]).join('')
  return `${id}.dsql.us-east-1.on.aws`
}

const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyz0123456789'

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }

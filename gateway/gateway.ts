/** A PostgreSQL endpoint that checks tokens as the cloud does. */
import type { Login } from '../core/login.js'
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
import { createCertificates } from './certificates.js'
import type { Engine } from './engines/engine.js'
import { startEngine } from './engines/start-engine.js'
import { createFaults, type GatewayFaults } from './faults/faults.js'
import { gatewayLogin, type GatewayLoginOptions } from './login.js'
import { createStats, type GatewayStats } from './stats.js'
import { createBufferBudget, createRoom } from './listener/limits.js'
import { createCancelKeys } from './listener/relay.js'
import { startListeners } from './listener/listener.js'
import { type GatewayOptions, gatewaySettings, type GatewaySettings } from './options.js'

/** A running gateway. Nothing that prints it shows a secret. */
export interface Gateway {
  /** The loopback address that it listens on. */
  readonly host: string
  /** The port of the listener that endpoints share; where each has its own, of the first endpoint's. */
  readonly port: number
  /** The name of the engine that serves the sessions: `postgres`, `upstream`, `pglite`, or the name of your own. */
  readonly engine: string
  /** What it stands for, and where. */
  readonly endpoints: readonly GatewayEndpoint[]
  /** PEM text of the certificate authority that clients must trust; made anew at each start. */
  readonly ca: string
  /**
   * Credentials of the first AWS principal, usable wherever the AWS SDK takes some: of the first AWS endpoint's principals.
   */
  readonly credentials: GatewayCredentials
  /** The endpoint names of Aurora DSQL that it stands for. */
  readonly clusters: readonly string[]
  /**
   * Returns a login to the endpoint of `options.host`, else to the first, made by the login function of its provider: dialled
   * at this gateway, as `app` where that role can be used, with the credentials and the authority of this gateway, and for Aurora
   * DSQL and RDS with `signer: 'built-in'`, which needs no package of AWS. Options beat these defaults.
   *
   * @throws PgIamError as the login function does, and `ERR_OPTION_INVALID` for an endpoint whose clients need no token.
   */
  login(options?: GatewayLoginOptions): Login
  /** Gives temporary credentials, as STS would; logins with them are refused from their end on. */
  issueCredentials(options?: IssueOptions): TemporaryCredentials
  /** Refuses all later logins with this access key; open sessions go on. Returns `false` for a key that is not known. */
  revokeCredentials(accessKeyId: string): boolean
  /** What it does wrong on purpose. */
  readonly faults: GatewayFaults
  stats(): GatewayStats
  /** Ends every session, frees the port, and ends the engine that it started. Resolves when that is done; may be called again. */
  close(): Promise<void>
}

/** One of the endpoints that a gateway stands for. */
export interface GatewayEndpoint {
  readonly provider: EndpointProvider
  /** The names by which clients know it. */
  readonly hosts: readonly string[]
  /** Where its clients are listened to, at the gateway's `host`. */
  readonly port: number
}

/**
 * Starts a gateway: PostgreSQL endpoints on this machine that insist on TLS and check each login as the cloud does that they
 * stand for, in front of a PostgreSQL that it starts, of one that runs elsewhere, of PGlite, or of an engine of your own.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @throws PgIamError Rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for options that cannot work,
 * `ERR_PEER_MISSING` where a package is not installed, or where there is no engine at all, `ERR_GATEWAY_ENGINE` where the engine cannot be started, or the
 * network's own error where the port is taken.
 */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const settings = gatewaySettings(options)
  const { host, clock, logger } = settings
  const [first = madeUpPrincipal(settings), ...others] = settings.principals
  const shared = createPrincipals([first, ...others])
  const deps = { principals: shared, clock }
  const endpoints = settings.endpoints.map((each) => createEndpoint(each, deps))

  const names = new Set([
    ...endpoints.flatMap(({ hosts }) => hosts),
    ...['localhost', '127.0.0.1', '::1', host],
  ])
  const [engine, [certificates]] = await started(
    startEngine(settings),
    Promise.all([createCertificates([...names]), ...endpoints.map(({ prepare }) => prepare?.())]),
  )
  const stats = createStats(clock)
  const { faults, hooks } = createFaults(clock)
  const services = {
    existing: settings,
    engine,
    room: createRoom(settings),
    buffers: createBufferBudget(settings.maxBufferedBytes),
    cancelKeys: createCancelKeys(),
    faults: hooks,
    stats,
    loginTimeoutMs: settings.loginTimeoutMs,
    logger,
  }
  const listeners = await startListeners(
    { host, port: settings.port, endpoints, certificates },
    services,
  ).catch(async (error: unknown) => {
    await engine.close()
    throw error
  })
  const { port } = listeners
  const shown = endpoints.map((endpoint): GatewayEndpoint => {
    const { provider, hosts } = endpoint
    return Object.freeze({ provider, hosts, port: listeners.portOf(endpoint) })
  })
  logger.info('gateway: listening', { host, port, engine: engine.name, endpoints: shown })

  const loginSettings = {
    ...settings,
    endpoints,
    ca: certificates.ca,
    addressOf: (endpoint: Endpoint) => ({ host, port: listeners.portOf(endpoint) }),
  }
  const principals = createPrincipalStores(endpoints, shared, clock)
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    faults.clear()
    await listeners.close()
    await engine.close()
    logger.info('gateway: closed', { host, port })
  }
  return Object.freeze({
    host,
    port,
    engine: engine.name,
    endpoints: Object.freeze(shown),
    ca: certificates.ca,
    credentials: principals.credentials,
    clusters: Object.freeze(
      shown.filter(({ provider }) => provider === 'aurora-dsql').flatMap(({ hosts }) => hosts),
    ),
    login: (own = {}) => gatewayLogin(loginSettings, own),
    issueCredentials: (own = {}) => principals.issue(own),
    revokeCredentials: (accessKeyId) => principals.revoke(accessKeyId),
    faults,
    stats: () => stats.read(),
    close: () => (closing ??= close()),
  } satisfies Gateway)
}

/** May use every role; its keys are worth nothing beyond this gateway. */
function madeUpPrincipal({ roles }: GatewaySettings): PrincipalOptions {
  return { ...randomAccessKey('AKIA'), roles }
}

/** Both at once, which shows in how soon the gateway is ready; where one fails, the engine is not left running. */
async function started<T>(engine: Promise<Engine>, other: Promise<T>): Promise<[Engine, T]> {
  const [first, second] = await Promise.allSettled([engine, other])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'fulfilled') return [first.value, second.value]
  await first.value.close()
  throw second.reason
}

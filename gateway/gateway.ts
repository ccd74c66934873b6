/** A PostgreSQL endpoint that checks tokens as the cloud does. */
import type { Login } from '../core/login.js'
import type { AuroraDsqlOptions } from '../core/providers/aurora-dsql.js'
import { createAuroraDsqlVerifier } from './auth/aurora-dsql-verifier.js'
import type { GatewayCredentials, TemporaryCredentials } from './auth/gateway-credentials.js'
import { createPrincipals, randomAccessKey, type PrincipalOptions } from './auth/principals.js'
import { issueTemporaryCredentials, type IssueOptions } from './auth/temporary-credentials.js'
import { createCertificates } from './certificates/gateway-certificates.js'
import type { Engine } from './engines/engine.js'
import { startEngine } from './engines/start-engine.js'
import { createFaults, type GatewayFaults } from './faults/faults.js'
import { gatewayLogin } from './gateway-login.js'
import { createStats, type GatewayStats } from './gateway-stats.js'
import { createCancelKeys } from './listener/cancel-keys.js'
import { listen } from './listener/listener.js'
import { createTlsUpgrader } from './listener/tls-upgrade.js'
import { gatewaySettings, type GatewayOptions, type GatewaySettings } from './options.js'

/** A running gateway. Nothing that prints it shows a secret. */
export interface Gateway {
  /** The loopback address that it listens on. */
  readonly host: string
  readonly port: number
  /** PEM text of the certificate authority that clients must trust; made anew at each start. */
  readonly ca: string
  /** Credentials of the first principal, usable wherever the AWS SDK takes some. */
  readonly credentials: GatewayCredentials
  /** The endpoint names that it stands for. */
  readonly clusters: readonly string[]
  /**
   * Returns a login to the first cluster, dialled at this gateway, as `app` where that role exists, with the credentials and
   * the authority of this gateway. Options beat these defaults.
   */
  login(options?: AuroraDsqlOptions): Login
  /** Gives temporary credentials, as STS would; logins with them are refused from their end on. */
  issueCredentials(options?: IssueOptions): TemporaryCredentials
  /** Refuses all later logins with this access key; open sessions go on. Returns `false` for a key that is not known. */
  revokeCredentials(accessKeyId: string): boolean
  /** What it does wrong on purpose. */
  readonly faults: GatewayFaults
  stats(): GatewayStats
  /** Ends every session, frees the port, and ends what stands behind. Resolves when that is done; may be called again. */
  close(): Promise<void>
}

/**
 * Starts a gateway: a TLS PostgreSQL endpoint on this machine that verifies Aurora DSQL tokens, in front of PGlite or of a
 * real PostgreSQL.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @throws PgIamError Rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for options that cannot work,
 * `ERR_PEER_MISSING` where a package is not installed, `ERR_GATEWAY_ENGINE` where the engine cannot be started, or the
 * network's own error where the port is taken.
 */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const settings = gatewaySettings(options)
  const { host, clusters, clock, logger } = settings
  const principals = createPrincipals()
  const [first = madeUpPrincipal(settings), ...others] = settings.principals
  const credentials = principals.add(first)
  for (const other of others) principals.add(other)

  const names = [...new Set([...clusters, 'localhost', '127.0.0.1', '::1', host])]
  const [engine, certificates] = await started(startEngine(settings), createCertificates(names))
  const stats = createStats(clock)
  const { faults, hooks } = createFaults(clock)
  const services = {
    tls: createTlsUpgrader(certificates),
    verify: createAuroraDsqlVerifier({ ...settings, principals }),
    engine,
    cancelKeys: createCancelKeys(),
    faults: hooks,
    stats,
    loginTimeoutMs: settings.loginTimeoutMs,
    maxConnections: settings.maxConnections,
    logger,
  }
  const listener = await listen(host, settings.port, services).catch(async (error: unknown) => {
    await engine.close()
    throw error
  })
  logger.info('gateway: listening', { host, port: listener.port, engine: engine.name, clusters })

  const loginSettings = {
    ...settings,
    cluster: clusters[0]!,
    credentials,
    ca: certificates.ca,
    address: Object.freeze({ host, port: listener.port }),
  }
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    faults.clear()
    await listener.close()
    await engine.close()
    logger.info('gateway: closed', { host, port: listener.port })
  }
  return Object.freeze({
    host,
    port: listener.port,
    ca: certificates.ca,
    credentials,
    clusters: Object.freeze([...clusters]),
    login: (own = {}) => gatewayLogin(loginSettings, own),
    issueCredentials: (own = {}) => issueTemporaryCredentials(principals, first.roles, clock, own),
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

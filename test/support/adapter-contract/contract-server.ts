/** The gateway that the contract runs against, with each engine. */
import { createPool } from '../../../adapters/pg.js'
import type { AuroraDsqlOptions, CommonOptions, Login } from '../../../core/index.js'
import { SILENT } from '../../../core/events.js'
import {
  type LaunchedPostgres,
  launchPostgres,
} from '../../../gateway/engines/postgres/launch-postgres.js'
import { engineOn, noPostgres } from '../../../gateway/engines/postgres/postgres-engine.js'
import { type Gateway, type GatewayOptions, startGateway } from '../../../gateway/index.js'
import { TEST_SETTINGS } from '../launch-postgres.js'
import type { ContractProvider, ProviderStand, Request } from './contract-provider.js'
import { auroraDsqlContract } from './providers/aurora-dsql.js'
import { type Relay, startRelay } from '../../support/relay.js'

export const ENGINES = ['PostgreSQL', 'PGlite'] as const
export type EngineName = (typeof ENGINES)[number]

export interface ContractServer {
  readonly engine: EngineName
  readonly gateway: Gateway
  /** Every connection of the logins passes through it. */
  readonly relay: Relay
  readonly provider: ContractProvider
  readonly stand: ProviderStand
  /**
   * A login to a database with the table `note`. `request` returns its credentials; the default issues new ones for an
   * hour at each call.
   */
  providerLogin: (options?: CommonOptions, request?: Request) => Login
  /** The same for tests of Aurora DSQL only. */
  login: (options?: AuroraDsqlOptions) => Login
  /** Ends every session: on PostgreSQL as an administrator would, on PGlite, which does not support this, as a network failure would. */
  endSessions: () => Promise<void>
  close: () => Promise<void>
}

export async function startContractServer(
  engine: EngineName,
  provider: ContractProvider = auroraDsqlContract,
): Promise<ContractServer> {
  const [server] = await startContractServers(engine, [provider])
  return server!
}

/** One gateway with an endpoint for each provider. Closing one of the servers closes all. */
export async function startContractServers(
  engine: EngineName,
  providers: readonly ContractProvider[],
): Promise<ContractServer[]> {
  const started: { close(): Promise<void> }[] = []
  let closing: Promise<void> | undefined
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      for (const one of started.toReversed()) await one.close()
    })())
  const keep = <T extends { close(): Promise<void> }>(one: T): T => {
    started.push(one)
    return one
  }
  try {
    const stands: ProviderStand[] = []
    for (const provider of providers) stands.push(keep(await provider.start()))
    const postgres = engine === 'PostgreSQL' ? keep(await launchServer()) : undefined
    const gateway = keep(
      await startGateway({
        ...mergedOptions(stands),
        webSocket: true,
        // Read at each call, because tests change the date.
        clock: () => Date.now(),
        engine: postgres === undefined ? 'pglite' : engineOn(postgres, SILENT),
      }),
    )
    const relay = keep(await startRelay(gateway))
    const connectTo = { host: '127.0.0.1', port: relay.port }
    const login = (options: AuroraDsqlOptions = {}): Login =>
      gateway.login({ connectTo, signer: 'aws-sdk', ...options })
    const loginTo = ({ options: { host } }: ProviderStand): ContractServer['login'] =>
      isAurora(host) ? (options) => login({ host, ...options }) : login
    const endSessions = async (): Promise<void> => {
      if (postgres === undefined) relay.cut()
      else await postgres.query('template1', END_SESSIONS)
    }
    const servers = providers.map((provider, index): ContractServer => {
      const stand = stands[index]!
      const providerLogin: ContractServer['providerLogin'] = (options = {}, request) =>
        provider.login(
          { ...stand.options, connectTo, ...options, tls: { ca: gateway.ca } },
          request ?? (async () => (await stand.issue(gateway, { durationSecs: 3_600 })).given),
        )
      return {
        engine,
        gateway,
        relay,
        provider,
        stand,
        providerLogin,
        login: loginTo(stand),
        endSessions,
        close,
      }
    })
    await createTable(servers[0]!.providerLogin())
    return servers
  } catch (error) {
    await close()
    throw error
  }
}

function isAurora(host: unknown): host is string {
  return typeof host === 'string' && host.includes('.dsql.')
}

function mergedOptions(stands: readonly ProviderStand[]): GatewayOptions {
  const clusters = stands.flatMap(({ gatewayOptions }) => gatewayOptions.clusters ?? [])
  const endpoints = stands.flatMap(({ gatewayOptions }) => gatewayOptions.endpoints ?? [])
  return {
    ...(clusters.length === 0 ? {} : { clusters }),
    ...(endpoints.length === 0 ? {} : { endpoints }),
    roles: [...new Set(['admin', 'app', ...stands.map(({ role }) => role)])],
  }
}

async function launchServer(): Promise<LaunchedPostgres> {
  const server = await launchPostgres({ settings: TEST_SETTINGS, logger: SILENT })
  if (server === undefined) throw noPostgres()
  return server
}

const END_SESSIONS =
  'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user'

async function createTable(login: Login): Promise<void> {
  const pool = createPool(login, { max: 1 })
  try {
    await pool.query('CREATE TABLE note (id int PRIMARY KEY, body text)')
    // The logins of the other providers have roles of their own.
    await pool.query('GRANT ALL ON note TO PUBLIC')
  } finally {
    await pool.end()
  }
}

/** The gateway that the contract runs against, on each of its engines. */
import { Pool } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import type { AuroraDsqlOptions, CommonOptions, Login } from '../../../core/index.js'
import { startGateway, type Gateway, type GatewayOptions } from '../../../gateway/index.js'
import { launchPostgres, type PostgresServer } from '../launch-postgres.js'
import type { ContractProvider, ProviderStand, Request } from './contract-provider.js'
import { auroraDsqlContract } from './providers/aurora-dsql.js'
import { startRelay, type Relay } from './relay.js'

export const ENGINES = ['PostgreSQL', 'PGlite'] as const
export type EngineName = (typeof ENGINES)[number]

export interface ContractServer {
  readonly engine: EngineName
  readonly gateway: Gateway
  /** Every connection of the logins goes through it. */
  readonly relay: Relay
  readonly provider: ContractProvider
  readonly stand: ProviderStand
  /**
   * A login to a database with the table `note`. Its credentials are what `request` gives; the default issues
   * some for an hour each time that it is asked.
   */
  providerLogin: (options?: CommonOptions, request?: Request) => Login
  /** The same for tests of Aurora DSQL alone. */
  login: (options?: AuroraDsqlOptions) => Login
  /** Ends every session: PostgreSQL as its administrator would, PGlite, which has nothing of the kind, as a broken network. */
  endSessions: () => Promise<void>
  close: () => Promise<void>
}

export async function startContractServer(
  engine: EngineName,
  provider: ContractProvider = auroraDsqlContract,
): Promise<ContractServer> {
  const started: { close(): Promise<void> }[] = []
  const close = async (): Promise<void> => {
    for (const one of started.toReversed()) await one.close()
  }
  const keep = <T extends { close(): Promise<void> }>(one: T): T => {
    started.push(one)
    return one
  }
  try {
    const stand = keep(await provider.start())
    const roles = [...new Set(['admin', 'app', stand.role])]
    const postgres = engine === 'PostgreSQL' ? keep(await launchPostgres({ roles })) : undefined
    const gateway = keep(
      await startGateway({
        ...stand.gatewayOptions,
        // Looked up at each call, because tests put the date forward.
        clock: () => Date.now(),
        ...(postgres === undefined ? {} : { upstream: upstreamOf(postgres) }),
      }),
    )
    const relay = keep(await startRelay(gateway))
    const connectTo = { host: '127.0.0.1', port: relay.port }
    const login = (options: AuroraDsqlOptions = {}): Login =>
      gateway.login({ connectTo, ...options })
    const providerLogin: ContractServer['providerLogin'] = (options = {}, request) =>
      provider.login(
        { ...stand.options, connectTo, ...options, tls: { ca: gateway.ca } },
        request ?? (async () => (await stand.issue(gateway, { durationSecs: 3_600 })).given),
      )
    await createTable(providerLogin())
    const endSessions = async (): Promise<void> => {
      if (postgres === undefined) relay.cut()
      else await terminateBackends(postgres)
    }
    return { engine, gateway, relay, provider, stand, providerLogin, login, endSessions, close }
  } catch (error) {
    await close()
    throw error
  }
}

function upstreamOf({
  socketDirectory,
  port,
  database,
}: PostgresServer): NonNullable<GatewayOptions['upstream']> {
  return { host: socketDirectory, port, database }
}

async function createTable(login: Login): Promise<void> {
  const pool = createPool(login, { max: 1 })
  try {
    await pool.query('CREATE TABLE note (id int PRIMARY KEY, body text)')
  } finally {
    await pool.end()
  }
}

async function terminateBackends({
  socketDirectory,
  port,
  superuser,
}: PostgresServer): Promise<void> {
  const pool = new Pool({
    host: socketDirectory,
    port,
    user: superuser,
    database: 'postgres',
    ssl: false,
  })
  await pool.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user',
  )
  await pool.end()
}

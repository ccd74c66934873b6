/** What the clients work against: a PostgreSQL, a gateway in front of it, and an administrator behind it. */
import { Client } from 'pg'
import type { AuroraDsqlOptions } from '../../core/index.js'
import { startGateway, type Gateway } from '../../gateway/index.js'
import { launchPostgres } from '../../test/support/launch-postgres.js'
import type { ClientName } from './clients.js'
import { TOKEN_SECS } from './load.js'
import { schemaOf } from './schema.js'

export type Admin = (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>

export interface Stage {
  readonly gateway: Gateway
  /** Runs a statement as the administrator, past the gateway. */
  readonly admin: Admin
  /** The roles of the clients. */
  readonly roles: readonly string[]
  /** The options of a client's logins, which can be sent to another process. */
  loginOptions(client: ClientName): AuroraDsqlOptions
  close(): Promise<void>
}

export async function startStage(clients: readonly ClientName[], pools: number): Promise<Stage> {
  const roles = clients.map(roleOf)
  const closers: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    for (const closeOne of closers.splice(0).toReversed()) await closeOne()
  }
  try {
    // Accounts change all the time, and for long: without the autovacuum they would only get slower.
    const settings = { autovacuum: 'on' }
    const postgres = await launchPostgres({ roles: ['admin', ...roles], settings })
    closers.push(() => postgres.close())
    const { socketDirectory: host, port, database, superuser } = postgres
    const gateway = await startGateway({ upstream: { host, port, database }, roles })
    closers.push(() => gateway.close())
    const administrator = new Client({ host, port, user: superuser, database, ssl: false })
    await administrator.connect()
    closers.push(() => administrator.end())
    const admin: Admin = async (text, values = []) =>
      (await administrator.query<Record<string, unknown>>(text, values)).rows
    for (const statement of schemaOf(pools, roles)) await admin(statement)
    return {
      gateway,
      admin,
      roles,
      loginOptions: (client) => loginOptions(gateway, roleOf(client), database),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A role for each client, so that a backend tells whose it is. */
function roleOf(client: ClientName): string {
  return `soak_${client.replaceAll('-', '_')}`
}

function loginOptions(gateway: Gateway, user: string, database: string): AuroraDsqlOptions {
  const { host, port, ca, clusters, credentials } = gateway
  const { accessKeyId, secretAccessKey } = credentials
  return {
    host: clusters[0]!,
    connectTo: { host, port },
    tls: { ca },
    database,
    user,
    credentials: { accessKeyId, secretAccessKey },
    tokenDurationSecs: TOKEN_SECS,
  }
}

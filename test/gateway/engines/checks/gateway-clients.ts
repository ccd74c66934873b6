/** Opens the clients for the checks, each logged in to a gateway with its own tokens. */
import { Client, Pool, type ClientConfig, type PoolConfig } from 'pg'
import postgres from 'postgres'
import type { Gateway } from '../../../../gateway/index.js'

/** The settings of pg for one connection to the gateway, by the name of its first cluster. */
export function pgSettings(gateway: Gateway, user = 'app'): ClientConfig & PoolConfig {
  const login = gateway.login({ user })
  return {
    host: gateway.host,
    port: gateway.port,
    user,
    database: login.database,
    password: login.password,
    ssl: { ca: gateway.ca, servername: login.host },
  }
}

/** Runs `work` with a connected client, and ends it. */
export async function withClient<T>(
  gateway: Gateway,
  work: (client: Client) => Promise<T>,
  settings: ClientConfig = {},
): Promise<T> {
  const client = new Client({ ...pgSettings(gateway), ...settings })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Runs `work` with a pool, and ends it. */
export async function withPool<T>(
  gateway: Gateway,
  max: number,
  work: (pool: Pool) => Promise<T>,
): Promise<T> {
  const pool = new Pool({ ...pgSettings(gateway), max })
  // `end` resolves before its connections are closed, so the gateway may close meanwhile.
  pool.on('error', () => {})
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}

/** Runs `work` with Postgres.js, and ends it. */
export async function withPostgresJs<T>(
  gateway: Gateway,
  settings: postgres.Options<Record<string, never>>,
  work: (sql: postgres.Sql) => Promise<T>,
): Promise<T> {
  const { password, database, host } = gateway.login()
  const sql = postgres({
    host: gateway.host,
    port: gateway.port,
    user: 'app',
    database,
    password,
    ssl: { ca: gateway.ca, servername: host },
    onnotice: () => {},
    ...settings,
  })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}

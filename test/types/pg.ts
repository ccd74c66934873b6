/** User code for pg compiles without a cast. Nothing here runs. */
import { Client, Pool, type PoolClient } from 'pg'
import { createClient, createPool, pgConfig, pgTransaction } from '../../adapters/pg.js'
import { login } from './login.js'

const pool: Pool = createPool(login, {
  max: 10,
  idleTimeoutMillis: 10_000,
  application_name: 'shop',
})
const single: Client = createClient(login, { statement_timeout: 5_000 })
export const ownPool = new Pool(
  pgConfig(login, { max: 10, onConnect: (client) => void client.on('notice', () => {}) }),
)
export const ownClient = new Client(pgConfig(login))

export async function work(): Promise<number> {
  await single.connect()
  const { rows } = await pool.query<{ id: number }>('SELECT id FROM note WHERE id = $1', [1])
  const count: number = await pgTransaction(pool, async (client: PoolClient) => {
    await client.query('UPDATE note SET body = $1', ['x'])
    return rows.length
  })
  return count
}

// @ts-expect-error the login comes first
createPool({ max: 10 }, login)
// @ts-expect-error pg has no such option
createPool(login, { maximum: 10 })

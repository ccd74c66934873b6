/** User code for pg compiles without a cast. Nothing here runs. */
import { Client, Pool, type ClientConfig, type PoolClient, type PoolConfig } from 'pg'
import PgBoss from 'pg-boss'
import pgPromise from 'pg-promise'
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

// Libraries on pg have their own types for its options.
export const jobs = new PgBoss({ ...pgConfig(login, { max: 5 }), schema: 'jobs' })
export const promised = pgPromise()(pgConfig(login, { max: 5, keepAlive: true }))
export const forPool: PoolConfig = pgConfig(login)
export const forClient: ClientConfig = pgConfig(login)
const given: PoolConfig = { max: 10 }
export const fromVariable = new Pool(pgConfig(login, given))
const changed = pgConfig(login, { max: 10 })
changed.max = 5
export const address: [string, number, string, string | undefined] = [
  changed.host,
  changed.port,
  changed.database,
  changed.user,
]

export async function work(): Promise<number> {
  await single.connect()
  const { rows } = await pool.query<{ id: number }>('SELECT id FROM note WHERE id = $1', [1])
  const count: number = await pgTransaction(pool, async (client: PoolClient) => {
    await client.query('UPDATE note SET body = $1', ['x'])
    return rows.length
  })
  return count
}

export const byUrl: Pool = createPool('postgres://app@db.example.com/shop', { max: 10 })
export const singleByUrl: Client = createClient(new URL('postgres://app@db.example.com/shop'))
export const configByUrl = new Pool(pgConfig('postgres://app@db.example.com/shop'))

// @ts-expect-error the login is the first argument
createPool({ max: 10 }, login)
// @ts-expect-error pg has no such option
createPool(login, { maximum: 10 })
// @ts-expect-error not even together with an option of pg
pgConfig(login, { max: 10, maximum: 10 })
// @ts-expect-error pg requires a number here
pgConfig(login, { max: '10' })
// @ts-expect-error there is no password
void pgConfig(login).password

/** User code for Knex compiles without a cast. Nothing here runs. */
import knex, { type Knex } from 'knex'
import { knexConfig, knexConnection, knexTransaction } from '../../adapters/knex.js'
import { login } from './login.js'

interface Note {
  id: number
  body: string
}

export const byUrl: Knex = knex(knexConfig('postgres://app@db.example.com/shop'))
export const byConnection = knexConnection(new URL('postgres://app@db.example.com/shop'))
const db: Knex = knex(knexConfig(login, { pool: { min: 0, max: 10 }, searchPath: ['public'] }))
export const own: Knex = knex({
  client: 'pg',
  connection: knexConnection(login, { application_name: 'shop' }),
  pool: { min: 0 },
})
export const config: Knex.Config = { client: 'pg', connection: knexConnection(login) }

export async function work(): Promise<number> {
  await db<Note>('note').insert({ id: 1, body: 'one' })
  const count: number = await knexTransaction(db, async (transaction: Knex.Transaction) => {
    await transaction<Note>('note').where({ id: 1 }).update({ body: 'x' })
    return 1
  })
  return count
}

// @ts-expect-error the login is the first argument
knexConfig({ pool: { min: 0 } }, login)
// @ts-expect-error a URL must be passed to loginFromUrl
knexConnection(login, 'postgres://db.example.com')

/** Returns the user of one connection of a login. */
import { createPool } from '../../../adapters/pg.js'
import type { Login } from '../../../core/index.js'

export async function currentUser(login: Login): Promise<unknown> {
  const pool = createPool(login, { max: 1 })
  try {
    return (await pool.query('SELECT current_user AS me')).rows[0]
  } finally {
    await pool.end()
  }
}

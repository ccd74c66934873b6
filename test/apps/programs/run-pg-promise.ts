/** pg-promise runs a task and a transaction. */
import { db } from './pg-promise.js'
import { report } from './report.js'

const me = await db.task((task) => task.one<{ me: string }>('SELECT current_user AS me'))
const rows = await db.tx(async (transaction) => {
  await transaction.none('CREATE TABLE pg_promise (id int PRIMARY KEY)')
  await transaction.none('INSERT INTO pg_promise VALUES ($1)', [1])
  return transaction.many<{ id: number }>('SELECT id FROM pg_promise')
})
await db.$pool.end()
report([me, ...rows])

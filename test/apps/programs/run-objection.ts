/** Objection inserts and selects in a transaction. */
import { knexTransaction } from 'pg-iam/knex'
import { db, Note } from './objection.js'
import { report } from './report.js'

await db.schema.createTable('note', (table) => {
  table.integer('id').primary()
  table.text('body')
})
const notes = await knexTransaction(db, async (trx) => {
  await Note.query(trx).insert({ id: 1, body: 'one' })
  return Note.query(trx)
})
await db.destroy()
report(notes)

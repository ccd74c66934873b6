/** node-pg-migrate runs a migration up and down. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createPool } from 'pg-iam/pg'
import { login } from './login.js'
import { migrate } from './node-pg-migrate.js'
import { report } from './report.js'

mkdirSync('migrations', { recursive: true })
writeFileSync(
  'migrations/1700000000000_note.sql',
  '-- Up Migration\nCREATE TABLE by_migration (id int);\n-- Down Migration\nDROP TABLE by_migration;\n',
)
const pool = createPool(login)
const tableExists = async () =>
  (await pool.query("SELECT to_regclass('by_migration') IS NOT NULL AS exists")).rows[0]?.exists
const up = await migrate('up')
const afterUp = await tableExists()
const down = await migrate('down')
const afterDown = await tableExists()
await pool.end()
report([up.length, afterUp, down.length, afterDown])

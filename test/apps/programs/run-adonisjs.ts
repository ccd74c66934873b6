/** Lucid queries with the configuration, as its provider makes it. */
import { Database } from '@adonisjs/lucid/database'
import { EmitterFactory } from '@adonisjs/core/factories/events'
import { LoggerFactory } from '@adonisjs/core/factories/logger'
import { AppFactory } from '@adonisjs/core/factories/app'
import config from './adonisjs.js'
import { report } from './report.js'

const app = new AppFactory().create(new URL('./', import.meta.url), () => {})
const emitter = new EmitterFactory().create(app)
const db = new Database(config, new LoggerFactory().create(), emitter)
await db.rawQuery('CREATE TABLE adonisjs (id int PRIMARY KEY)')
await db.transaction(async (trx) => void (await trx.table('adonisjs').insert({ id: 1 })))
const rows: unknown = await db.from('adonisjs').select('id')
await db.manager.closeAll()
report(rows)

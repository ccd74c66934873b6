/** MikroORM in plain Node with the built package, which is both imported and required. Prints the result as JSON. */
import { createRequire } from 'node:module'
import { defineEntity, MikroORM, p } from '@mikro-orm/postgresql'
import { startGateway } from '../../dist/esm/gateway/index.js'
import * as imported from '../../dist/esm/adapters/mikro-orm.js'

const required = createRequire(import.meta.url)('../../dist/cjs/adapters/mikro-orm.js')
const Note = defineEntity({
  name: 'Note',
  tableName: 'note',
  properties: { id: p.integer().primary(), body: p.text() },
})
const gateway = await startGateway()
const login = gateway.login()
const orm = await MikroORM.init(
  // Options of one copy of the package, and the transaction function of the other.
  required.mikroOrmOptions(login, { entities: [Note], pool: { min: 0, max: 1 } }),
)
await orm.em.fork().execute('CREATE TABLE note (id int PRIMARY KEY, body text)')
gateway.faults.raiseConflicts({ at: 'commit' })
await imported.mikroOrmTransaction(orm.em, async (em) => {
  em.create(Note, { id: 1, body: 'one' })
})
gateway.faults.cut({ at: 'after-commit' })
const lost = await imported
  .mikroOrmTransaction(orm.em, async (em) => {
    em.create(Note, { id: 2, body: 'two' })
  })
  .catch((error) => error.code)
const notes = await orm.em.fork().find(Note, {}, { orderBy: { id: 'asc' } })
await orm.close()
await gateway.close()
const { conflictsRetried } = login.stats()
process.stdout.write(JSON.stringify({ notes: notes.map(({ id }) => id), lost, conflictsRetried }))

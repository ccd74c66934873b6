/** User code for MikroORM compiles without a cast. Nothing here runs. */
import { defineConfig, type EntityManager, IsolationLevel, MikroORM } from '@mikro-orm/postgresql'
import { mikroOrmOptions, mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import { login } from '../types/login.js'
import { Note, noteSchema } from './client.js'

export const byUrl = new MikroORM(
  mikroOrmOptions('postgres://app@db.example.com/shop', { entities: [noteSchema] }),
)
export const config = defineConfig(
  mikroOrmOptions(login, {
    entities: [noteSchema],
    debug: ['query'],
    pool: { min: 0, max: 10 },
    driverOptions: { application_name: 'shop' },
    replicas: [login, 'postgres://app@reader.example.com/shop'],
  }),
)

export async function work(): Promise<number> {
  const orm = await MikroORM.init(mikroOrmOptions(login, { entities: [noteSchema] }))
  const count: number = await mikroOrmTransaction(orm.em, async (em) => {
    em.create(Note, { id: 1, body: 'one' })
    return em.count(Note)
  })
  const bodies: string[] = await mikroOrmTransaction(orm.em.fork(), bodiesOf, {
    isolationLevel: IsolationLevel.REPEATABLE_READ,
    readOnly: true,
    maxAttempts: 3,
  })
  await mikroOrmTransaction(orm.em, bodiesOf, { isolationLevel: 'repeatable read' })
  return count + bodies.length
}

async function bodiesOf(em: EntityManager): Promise<string[]> {
  const notes = await em.find(Note, {})
  return notes.map(({ body }) => body ?? '')
}

// @ts-expect-error the login is the first argument
mikroOrmOptions({ entities: [noteSchema] }, login)
// @ts-expect-error the replicas are logins
mikroOrmOptions(login, { replicas: [{ host: 'reader.example.com' }] })
// @ts-expect-error the transaction is always a new one
void mikroOrmTransaction(byUrl.em, bodiesOf, { propagation: 'nested' })

/** User code for TypeORM compiles without a cast. Nothing here runs. */
import { DataSource, EntitySchema, type DataSourceOptions, type EntityManager } from 'typeorm'
import { typeormOptions, typeormPassword, typeormTransaction } from '../../adapters/typeorm.js'
import { login } from './login.js'

interface Note {
  id: number
  body: string
}

const note = new EntitySchema<Note>({
  name: 'note',
  columns: { id: { type: 'int', primary: true }, body: { type: 'text' } },
})

const dataSource = new DataSource(
  typeormOptions(login, { entities: [note], poolSize: 10, logging: true, extra: { max: 10 } }),
)
export const options: DataSourceOptions = typeormOptions(login)
export const replicated = new DataSource(
  typeormOptions(login, { replication: { slaves: [login], defaultMode: 'master' } }),
)

export const own = new DataSource({
  type: 'postgres',
  host: login.host,
  username: 'app',
  database: login.database,
  password: typeormPassword(login),
  ssl: login.tls,
  entities: [note],
})

export async function work(): Promise<number> {
  await dataSource.initialize()
  await dataSource.getRepository(note).save({ id: 1, body: 'one' })
  const count: number = await typeormTransaction(dataSource, async (manager: EntityManager) => {
    await manager.update(note, { id: 1 }, { body: 'x' })
    return 1
  })
  return count
}

// @ts-expect-error the options of another database
typeormOptions(login, { type: 'mysql' })
// @ts-expect-error TypeORM has no such option
typeormOptions(login, { maximum: 10 })
// @ts-expect-error replicas are given as logins
typeormOptions(login, { replication: { slaves: ['db.example.com'] } })

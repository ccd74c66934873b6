/** User code for TypeORM compiles without a cast. Nothing here runs. */
import { DataSource, type DataSourceOptions, type EntityManager, EntitySchema } from 'typeorm'
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
export const byUrl: DataSourceOptions = typeormOptions('postgres://app@db.example.com/shop', {
  replication: { slaves: [new URL('postgres://app@reader.example.com/shop')] },
})
export const replicated = new DataSource(
  typeormOptions(login, { replication: { slaves: [login], defaultMode: 'master' } }),
)

/** As in `@nestjs/typeorm` 11. */
type NestOptions = {
  name?: string
  retryAttempts?: number
  retryDelay?: number
  toRetry?: (error: Error) => boolean
  autoLoadEntities?: boolean
  verboseRetryLog?: boolean
  manualInitialization?: boolean
} & Partial<DataSourceOptions>
export const nest: NestOptions = typeormOptions(login, {
  autoLoadEntities: true,
  retryAttempts: 3,
  toRetry: (error: Error) => error.message.includes('timeout'),
  verboseRetryLog: true,
  entities: [note],
})
const nestWithoutContext = typeormOptions(login, { autoLoadEntities: true })
export const nestModule = (given: NestOptions = nestWithoutContext): NestOptions => given
export const seeded: DataSourceOptions & { seeds?: string[] } = typeormOptions(login, {
  seeds: ['seeds/*.js'],
})
export const softDelete: boolean = typeormOptions<{ soft: boolean }>(login, { soft: true }).soft

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
// @ts-expect-error not even together with an option of a framework
typeormOptions(login, { autoLoadEntities: true, maximum: 10 })
// @ts-expect-error a mistyped option of a framework
typeormOptions(login, { autoLoadEntites: true })
// @ts-expect-error NestJS requires a boolean here
typeormOptions(login, { autoLoadEntities: 'yes' })
// @ts-expect-error these options are for TypeORM only
export const pool: { totalCount: number } = typeormOptions(login)
// @ts-expect-error replicas are given as logins or URLs
typeormOptions(login, { replication: { slaves: [{ host: 'db.example.com' }] } })

/** User code for Sequelize compiles without a cast. Nothing here runs. */
import { type Options, Sequelize } from 'sequelize'
import {
  Model,
  Sequelize as TypescriptSequelize,
  type SequelizeOptions,
} from 'sequelize-typescript'
import { sequelizeHook, sequelizeOptions, sequelizeTransaction } from '../../adapters/sequelize.js'
import { login } from './login.js'

const sequelize = new Sequelize(sequelizeOptions(login, { logging: false, pool: { max: 10 } }))
const options: Options = sequelizeOptions(login)
export const extended = new Sequelize({ ...options, benchmark: true })

export const own = new Sequelize({
  dialect: 'postgres',
  hooks: { beforeConnect: sequelizeHook(login) },
})
export const fromUrl = new Sequelize('postgres://app@db.example.com/shop', {
  hooks: { beforeConnect: sequelizeHook(login) },
})
own.addHook('beforeConnect', sequelizeHook(login))
export const replicated = new Sequelize(sequelizeOptions(login, { replication: { read: [login] } }))
export const notReplicated = new Sequelize(sequelizeOptions(login, { replication: false }))
own.addHook('beforeConnect', sequelizeHook(login, login))

class Note extends Model {}

export const classes = new TypescriptSequelize(
  sequelizeOptions(login, { models: [Note], repositoryMode: true, logging: false }),
)
export const files: SequelizeOptions = sequelizeOptions(login, {
  models: ['models/*.js'],
  modelMatch: (file, member) => file === member.toLowerCase(),
})

/** As in `@nestjs/sequelize` 11. */
type NestOptions = {
  name?: string
  retryAttempts?: number
  retryDelay?: number
  autoLoadModels?: boolean
  synchronize?: boolean
  uri?: string
  autoCloseConnection?: boolean
} & Partial<SequelizeOptions>
export const nest: NestOptions = sequelizeOptions(login, { autoLoadModels: true, retryAttempts: 3 })
const nestWithoutContext = sequelizeOptions(login, { autoLoadModels: true, synchronize: false })
export const nestModule = (given: NestOptions = nestWithoutContext): NestOptions => given
export const ofAnother: { region: string } & Options = sequelizeOptions<{ region: string }>(login, {
  region: 'eu',
})

export async function work(): Promise<number> {
  const count: number = await sequelizeTransaction(sequelize, async (transaction) => {
    await sequelize.query('UPDATE note SET body = ?', { replacements: ['x'], transaction })
    return 1
  })
  return count
}

// @ts-expect-error Sequelize has no such option
sequelizeOptions(login, { maximum: 10 })
// @ts-expect-error the hook requires a login
sequelizeHook()
// @ts-expect-error not even together with an option of a framework
sequelizeOptions(login, { models: [Note], maximum: 10 })
// @ts-expect-error a framework without its options type
sequelizeOptions(login, { region: 'eu' })
// @ts-expect-error these options are for Sequelize only
export const pool: { totalCount: number } = sequelizeOptions(login)
export const byUrl = new Sequelize(
  sequelizeOptions('postgres://app@db.example.com/shop', {
    replication: { read: [new URL('postgres://app@reader.example.com/shop')] },
  }),
)
own.addHook('beforeConnect', sequelizeHook(new URL('postgres://app@db.example.com/shop'), login))
// @ts-expect-error replicas are given as logins or URLs
sequelizeOptions(login, { replication: { read: [{ host: 'db.example.com' }] } })

/** User code for Sequelize 7 compiles without a cast. Nothing here runs. */
import { type Options, Sequelize, TransactionNestMode } from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import {
  sequelizeHook,
  sequelizeOptions,
  sequelizeTransaction,
} from '../../adapters/sequelize-7.js'
import { login } from './login.js'

const sequelize = new Sequelize(sequelizeOptions(login, { logging: false, pool: { max: 10 } }))
const options: Options<PostgresDialect> = sequelizeOptions(login, { dialect: PostgresDialect })
export const extended = new Sequelize({ ...options, benchmark: true })

const hook = sequelizeHook(login)
export const own = new Sequelize({
  dialect: PostgresDialect,
  hooks: { beforeConnect: hook, afterConnect: hook },
})
own.hooks.addListener('beforeConnect', sequelizeHook(login, login))
export const replicated = new Sequelize(sequelizeOptions(login, { replication: { read: [login] } }))
export const notReplicated = new Sequelize(sequelizeOptions(login, { replication: false }))
export const byUrl = new Sequelize(sequelizeOptions('postgres://app@db.example.com/shop'))

export async function work(): Promise<number> {
  const count: number = await sequelizeTransaction(
    sequelize,
    async (transaction) => {
      await sequelize.query('UPDATE note SET body = ?', { replacements: ['x'], transaction })
      return 1
    },
    { nestMode: TransactionNestMode.separate, maxAttempts: 3 },
  )
  return count
}

// @ts-expect-error Sequelize has no such option
sequelizeOptions(login, { maximum: 10 })
// @ts-expect-error an option of Sequelize 6
sequelizeOptions(login, { dialectOptions: {} })
// @ts-expect-error the hook requires a login
sequelizeHook()
// @ts-expect-error replicas are given as logins or URLs
sequelizeOptions(login, { replication: { read: [5] } })

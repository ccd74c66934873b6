/** User code for Sequelize compiles without a cast. Nothing here runs. */
import { Sequelize, type Options } from 'sequelize'
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

export async function work(): Promise<number> {
  const count: number = await sequelizeTransaction(sequelize, async (transaction) => {
    await sequelize.query('UPDATE note SET body = ?', { replacements: ['x'], transaction })
    return 1
  })
  return count
}

// @ts-expect-error Sequelize has no such option
sequelizeOptions(login, { maximum: 10 })
// @ts-expect-error a hook needs a login
sequelizeHook()
// @ts-expect-error replicas are given as logins
sequelizeOptions(login, { replication: { read: ['db.example.com'] } })

/** Sequelize 7 with a token for each physical connection: `npm run example sequelize-7`. */
import { randomUUID } from 'node:crypto'
import { DataTypes, Sequelize, type Model } from '@sequelize/core'
import type { Login } from 'pg-iam'
import { sequelizeOptions, sequelizeTransaction } from 'pg-iam/sequelize-7'
import { print } from './print.js'

interface Account extends Model {
  owner: string
  balance: number
}

export async function main(login: Login): Promise<void> {
  const sequelize = new Sequelize(sequelizeOptions(login, { pool: { max: 5 } }))
  const Account = sequelize.define<Account>(
    'Account',
    {
      id: { type: DataTypes.UUID, primaryKey: true },
      owner: DataTypes.TEXT,
      balance: DataTypes.INTEGER,
    },
    { tableName: 'pg_iam_account', timestamps: false },
  )
  try {
    await sequelize.query(
      `CREATE TABLE IF NOT EXISTS pg_iam_account
         (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`,
    )
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await Account.bulkCreate([
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ])
    print('wrote two accounts: Ada 100, Ben 0')

    // Queries join the transaction of the function that runs them.
    await sequelizeTransaction(sequelize, async () => {
      await Account.decrement({ balance: 30 }, { where: { id: ada } })
      await Account.increment({ balance: 30 }, { where: { id: ben } })
    })
    print('moved 30 from Ada to Ben in a transaction')

    const accounts = await Account.findAll({ where: { id: [ada, ben] }, order: ['owner'] })
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await Account.destroy({ where: { id: [ada, ben] } })
    print('removed both accounts')
  } finally {
    await sequelize.close()
    print('closed the pool')
  }
}

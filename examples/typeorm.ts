/** TypeORM with a token for each physical connection: `npm run example typeorm`. */
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { typeormOptions, typeormTransaction } from 'pg-iam/typeorm'
import { DataSource, EntitySchema, In } from 'typeorm'
import { print } from './print.js'

const Account = new EntitySchema<{ id: string; owner: string; balance: number }>({
  name: 'Account',
  tableName: 'pg_iam_account',
  columns: {
    id: { type: 'uuid', primary: true },
    owner: { type: 'text' },
    balance: { type: 'integer' },
  },
})

export async function main(login: Login): Promise<void> {
  const dataSource = new DataSource(typeormOptions(login, { entities: [Account], poolSize: 5 }))
  await dataSource.initialize()
  const accountRepository = dataSource.getRepository(Account)
  try {
    await dataSource.query(
      `CREATE TABLE IF NOT EXISTS pg_iam_account
         (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`,
    )
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await accountRepository.insert([
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ])
    print('wrote two accounts: Ada 100, Ben 0')

    await typeormTransaction(dataSource, async (manager) => {
      await manager.decrement(Account, { id: ada }, 'balance', 30)
      await manager.increment(Account, { id: ben }, 'balance', 30)
    })
    print('moved 30 from Ada to Ben in a transaction')

    const accounts = await accountRepository.find({
      where: { id: In([ada, ben]) },
      order: { owner: 'ASC' },
    })
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await accountRepository.delete([ada, ben])
    print('removed both accounts')
  } finally {
    await dataSource.destroy()
    print('closed the pool')
  }
}

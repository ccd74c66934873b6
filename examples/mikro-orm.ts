/**
 * MikroORM with a token for each physical connection: `npm run example mikro-orm`. MikroORM 7 needs Node 22.17, so it is not installed with
 * the other packages: run `npm install --no-save @mikro-orm/postgresql` before.
 */
import { randomUUID } from 'node:crypto'
import { defineEntity, MikroORM, p } from '@mikro-orm/postgresql'
import type { Login } from 'pg-iam'
import { mikroOrmOptions, mikroOrmTransaction } from 'pg-iam/mikro-orm'
import { print } from './print.js'

const Account = defineEntity({
  name: 'Account',
  tableName: 'pg_iam_account',
  properties: { id: p.uuid().primary(), owner: p.text(), balance: p.integer() },
})

export async function main(login: Login): Promise<void> {
  const orm = await MikroORM.init(
    mikroOrmOptions(login, { entities: [Account], pool: { min: 0, max: 5 } }),
  )
  try {
    await orm.em.fork().execute(
      `CREATE TABLE IF NOT EXISTS pg_iam_account
         (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`,
    )
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await orm.em.fork().insertMany(Account, [
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ])
    print('wrote two accounts: Ada 100, Ben 0')

    await mikroOrmTransaction(orm.em, async (em) => {
      const from = await em.findOneOrFail(Account, { id: ada })
      const to = await em.findOneOrFail(Account, { id: ben })
      from.balance -= 30
      to.balance += 30
    })
    print('moved 30 from Ada to Ben in a transaction')

    const both = { id: { $in: [ada, ben] } }
    const accounts = await orm.em.fork().find(Account, both, { orderBy: { owner: 'asc' } })
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await orm.em.fork().nativeDelete(Account, both)
    print('removed both accounts')
  } finally {
    await orm.close()
    print('closed the pool')
  }
}

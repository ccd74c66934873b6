/** Prisma with a token for each physical connection: `npm run example prisma`. */
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { prismaAdapter, prismaTransaction } from 'pg-iam/prisma'
import { print } from './print.js'
import { PrismaClient } from './prisma/client/client.js'

export async function main(login: Login): Promise<void> {
  const prisma = new PrismaClient({ adapter: prismaAdapter(login, { max: 5 }) })
  try {
    await prisma.$executeRaw`
      CREATE TABLE IF NOT EXISTS pg_iam_account
        (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await prisma.account.createMany({
      data: [
        { id: ada, owner: 'Ada', balance: 100 },
        { id: ben, owner: 'Ben', balance: 0 },
      ],
    })
    print('wrote two accounts: Ada 100, Ben 0')

    await prismaTransaction(prisma, async (transaction) => {
      await transaction.account.update({ where: { id: ada }, data: { balance: { decrement: 30 } } })
      await transaction.account.update({ where: { id: ben }, data: { balance: { increment: 30 } } })
    })
    print('moved 30 from Ada to Ben in a transaction')

    const accounts = await prisma.account.findMany({
      where: { id: { in: [ada, ben] } },
      orderBy: { owner: 'asc' },
    })
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await prisma.account.deleteMany({ where: { id: { in: [ada, ben] } } })
    print('removed both accounts')
  } finally {
    await prisma.$disconnect()
    print('closed the pool')
  }
}

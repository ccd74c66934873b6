/** User code for Prisma compiles without a cast. Nothing here runs. */
import { prismaAdapter, prismaTransaction, type PrismaTransaction } from '../../adapters/prisma.js'
import { type Prisma, PrismaClient } from '../../examples/prisma/client/client.js'
import { login } from './login.js'

const prisma = new PrismaClient({ adapter: prismaAdapter(login, { max: 5 }, { schema: 'shop' }) })
export const byUrl = new PrismaClient({
  adapter: prismaAdapter('postgres://app@db.example.com/shop'),
  log: ['query'],
})
const extended = prisma.$extends({ model: { note: { shout: (): string => '!' } } })

async function addNote(transaction: PrismaTransaction<typeof prisma>): Promise<number> {
  const { id } = await transaction.note.create({ data: { id: 1 } })
  return id
}

export async function work(): Promise<number> {
  const id: number = await prismaTransaction(prisma, addNote, {
    isolationLevel: 'Serializable',
    timeout: 10_000,
    maxAttempts: 3,
  })
  const own = (transaction: Prisma.TransactionClient): Promise<number> => transaction.note.count()
  const count: number = await prismaTransaction(prisma, own)
  const shouted: string = await prismaTransaction(extended, async (transaction) =>
    transaction.note.shout(),
  )
  return id + count + shouted.length
}

// @ts-expect-error pg has no such option
prismaAdapter(login, { maximum: 10 })
// @ts-expect-error Prisma's adapter has no such option
prismaAdapter(login, {}, { scheme: 'shop' })
// @ts-expect-error the spelling of Prisma is `Serializable`
void prismaTransaction(prisma, addNote, { isolationLevel: 'serializable' })

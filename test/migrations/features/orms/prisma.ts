/** The features of Prisma, with a client that was generated from prisma/schema.prisma. */
import { prismaAdapter, prismaTransaction } from '../../../../adapters/prisma.js'
import { insertInChunks, type Login } from '../../../../core/index.js'
import { sqlStateOf } from '../../../../core/transactions/is-occ-conflict.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'
import { PrismaClient } from '../prisma/client/client.js'

/** Prisma's defaults are two seconds to begin a transaction, and five for all of it. A loaded machine may need longer. */
const transactionOptions = { maxWait: 120_000, timeout: 300_000 }

const open = (login: Login): PrismaClient =>
  new PrismaClient({ adapter: prismaAdapter(login), transactionOptions })

const one = { id: 1, name: 'one' }
const george = { name: 'George', profile: { city: 'Madison' } }

export const orm: OrmFeatures<PrismaClient> = {
  name: 'Prisma',
  open,
  close: (prisma) => prisma.$disconnect(),
  cells: {
    'first connection': works(async (_, { login }) => {
      const prisma = open(login)
      await prisma.$queryRaw`SELECT 1`
      await prisma.$disconnect()
    }),
    CRUD: works(async ({ owner }) => {
      const { id } = await owner.create({ data: george })
      await owner.update({ where: { id }, data: { name: 'Jorge' } })
      expect(await owner.findUnique({ where: { id } })).toMatchObject({ name: 'Jorge' })
      await owner.delete({ where: { id } })
      expect(await owner.count()).toBe(0)
    }),
    relations: works(async ({ owner, pet }) => {
      const { id } = await owner.create({ data: { ...george, pets: { create: { name: 'Leo' } } } })
      await expect(owner.delete({ where: { id } })).rejects.toMatchObject({ code: 'P2003' })
      expect(await pet.count({ where: { owner: { name: 'George' } } })).toBe(1)
    }),
    'eager loading': works(async ({ owner }) => {
      const pets = { create: [{ name: 'Leo' }, { name: 'Max' }] }
      await owner.create({ data: { ...george, pets } })
      const found = await owner.findFirst({ include: { pets: { orderBy: { name: 'asc' } } } })
      expect(found?.pets.map(({ name }) => name)).toEqual(['Leo', 'Max'])
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (data) => prisma.item.createMany({ data }))`.',
      async ({ item }) => {
        await insertInChunks(ITEMS, (data) => item.createMany({ data }))
        expect(await item.count()).toBe(ITEMS.length)
      },
      { code: '54000', run: ({ item }) => item.createMany({ data: [...ITEMS] }) },
    ),
    upsert: works(async ({ item }) => {
      for (const name of ['one', 'two'])
        await item.upsert({ where: { id: 1 }, create: { id: 1, name }, update: { name } })
      expect(await item.findMany()).toEqual([{ id: 1, name: 'two' }])
    }),
    pagination: works(async ({ item }) => {
      await item.createMany({ data: ITEMS.slice(0, 25) })
      const page = await item.findMany({ orderBy: { id: 'asc' }, take: 10, skip: 20 })
      expect(page.map(({ id }) => id)).toEqual([20, 21, 22, 23, 24])
      const next = await item.findMany({ orderBy: { id: 'asc' }, take: 2, cursor: { id: 5 } })
      expect(next.map(({ id }) => id)).toEqual([5, 6])
    }),
    JSON: works(async ({ owner }) => {
      await owner.create({ data: george })
      const found = await owner.findFirst({
        where: { profile: { path: ['city'], equals: 'Madison' } },
      })
      expect(found?.profile).toEqual({ city: 'Madison' })
    }),
    'UUID keys': works(async ({ owner }) => {
      const { id } = await owner.create({
        data: { ...george, pets: { create: { name: 'Leo' } } },
        include: { pets: true },
      })
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      expect(await owner.count({ where: { id: { in: [id] } } })).toBe(1)
    }),
    timestamps: works(async ({ owner }) => {
      const { id, createdAt } = await owner.create({ data: george })
      const updated = await owner.update({ where: { id }, data: { name: 'Jorge' } })
      expect(updated.createdAt).toEqual(createdAt)
      expect(updated.updatedAt.getTime()).toBeGreaterThan(0)
    }),
    'optimistic locking': works(async ({ owner }) => {
      const { id } = await owner.create({ data: george })
      const change = async (): Promise<number> => {
        const data = { version: { increment: 1 } }
        return (await owner.updateMany({ where: { id, version: 1 }, data })).count
      }
      expect([await change(), await change()]).toEqual([1, 0])
    }),
    'row locks': undefined,
    transactions: works(async (prisma) => {
      await prisma.$transaction((own) => own.item.create({ data: one }))
      const two = prisma.item.create({ data: { id: 2, name: 'two' } })
      await expect(
        prisma.$transaction([two, prisma.item.create({ data: one })]),
      ).rejects.toMatchObject({ code: 'P2002' })
      expect(await prisma.item.findMany()).toEqual([one])
    }),
    'isolation level': works(async (prisma) => {
      const level = { isolationLevel: 'RepeatableRead' } as const
      await prisma.$transaction((own) => own.item.create({ data: one }), level)
      await prisma.$transaction([prisma.item.count()], level)
      expect(await prismaTransaction(prisma, (own) => own.item.count(), level)).toBe(1)
      const other = prisma.$transaction((own) => own.item.count(), {
        isolationLevel: 'Serializable',
      })
      expect(sqlStateOf(await other.catch((error: unknown) => error))).toBe('0A000')
    }),
    'read-only transactions': undefined,
    'nested transactions': not(
      'a nested `$transaction()` is a savepoint. Use the outer client.',
      '0A000',
      (prisma) =>
        prisma.$transaction((own) =>
          // Prisma (7.10) has savepoints, but not in its types.
          (own as PrismaClient).$transaction((inner) => inner.item.count()),
        ),
    ),
    introspection: undefined,
  },
}

/** The features of TypeORM. */
import { DataSource, EntitySchema, OptimisticLockVersionMismatchError } from 'typeorm'
import { typeormOptions, typeormTransaction } from '../../../../adapters/typeorm.js'
import { insertInChunks } from '../../../../core/index.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'

interface Owner {
  id: string
  name: string
  profile: { city: string } | null
  version: number
  createdAt: Date
  updatedAt: Date
  pets: Pet[]
}

interface Pet {
  id: string
  name: string
  owner: Owner
}

interface Item {
  id: number
  name: string
}

const ownerSchema = new EntitySchema<Owner>({
  name: 'owner',
  columns: {
    id: { type: 'uuid', primary: true, generated: 'uuid' },
    name: { type: 'text', unique: true },
    profile: { type: 'jsonb', nullable: true },
    version: { type: 'int', version: true },
    createdAt: { type: 'timestamptz', name: 'created_at', createDate: true },
    updatedAt: { type: 'timestamptz', name: 'updated_at', updateDate: true },
  },
  relations: { pets: { type: 'one-to-many', target: 'pet', inverseSide: 'owner' } },
})

const petSchema = new EntitySchema<Pet>({
  name: 'pet',
  columns: {
    id: { type: 'uuid', primary: true, generated: 'uuid' },
    name: { type: 'text' },
  },
  relations: {
    owner: {
      ...{ type: 'many-to-one', target: 'owner', inverseSide: 'pets' },
      joinColumn: { name: 'owner_id' },
    },
  },
})

const itemSchema = new EntitySchema<Item>({
  name: 'item',
  columns: { id: { type: 'int', primary: true }, name: { type: 'text' } },
})

const entities = [ownerSchema, petSchema, itemSchema]
const one = { id: 1, name: 'one' }

export const orm: OrmFeatures<DataSource> = {
  name: 'TypeORM',
  open: (login) => new DataSource(typeormOptions(login, { entities })).initialize(),
  close: (db) => db.destroy(),
  cells: {
    'first connection': works(async (_, { login }) => {
      const warnings: unknown[] = []
      const nothing = (): void => {}
      const logger = {
        ...{ logQuery: nothing, logQuerySlow: nothing, logSchemaBuild: nothing },
        ...{ logMigration: nothing, log: (...all: unknown[]) => void warnings.push(all) },
        logQueryError: (error: unknown) => void warnings.push(error),
      }
      const db = await new DataSource(
        typeormOptions(login, { entities, logger, logging: 'all' }),
      ).initialize()
      await db.destroy()
      // As that of a CREATE EXTENSION, which would be refused, but is only logged.
      expect(warnings).toEqual([])
    }),
    CRUD: works(async ({ manager }) => {
      const george = await manager.save(ownerSchema, { name: 'George' })
      await manager.save(ownerSchema, { ...george, name: 'Jorge' })
      expect(await manager.findOneBy(ownerSchema, { id: george.id })).toMatchObject({
        name: 'Jorge',
      })
      await manager.delete(ownerSchema, george.id)
      expect(await manager.count(ownerSchema)).toBe(0)
    }),
    relations: works(async ({ manager }) => {
      const owner = await manager.save(ownerSchema, { name: 'George' })
      await manager.save(petSchema, { name: 'Leo', owner })
      await expect(manager.delete(ownerSchema, owner.id)).rejects.toMatchObject({ code: '23503' })
      expect(await manager.countBy(petSchema, { owner: { id: owner.id } })).toBe(1)
    }),
    'eager loading': works(async ({ manager }) => {
      const owner = await manager.save(ownerSchema, { name: 'George' })
      await manager.save(petSchema, [
        { name: 'Leo', owner },
        { name: 'Max', owner },
      ])
      const options = { relations: { pets: true }, order: { pets: { name: 'ASC' } } } as const
      for (const relationLoadStrategy of ['join', 'query'] as const) {
        const [found] = await manager.find(ownerSchema, { ...options, relationLoadStrategy })
        expect(found?.pets.map(({ name }) => name).toSorted()).toEqual(['Leo', 'Max'])
      }
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => manager.insert(Item, chunk))`. `save(rows, { chunk: 1000 })` runs its chunks in one transaction, unless `transaction: false` is given, too.',
      async ({ manager }) => {
        await insertInChunks(ITEMS, (chunk) => manager.insert(itemSchema, chunk))
        expect(await manager.count(itemSchema)).toBe(ITEMS.length)
        await manager.createQueryBuilder().delete().from(itemSchema).where('id < 3000').execute()
        await manager.createQueryBuilder().delete().from(itemSchema).execute()
        await manager.save(itemSchema, [...ITEMS], { chunk: 1_000, transaction: false })
        expect(await manager.count(itemSchema)).toBe(ITEMS.length)
      },
      {
        code: '54000',
        run: ({ manager }) => manager.save(itemSchema, [...ITEMS], { chunk: 1_000 }),
      },
    ),
    upsert: works(async ({ manager }) => {
      await manager.upsert(itemSchema, one, ['id'])
      await manager.upsert(itemSchema, { id: 1, name: 'two' }, ['id'])
      expect(await manager.find(itemSchema)).toEqual([{ id: 1, name: 'two' }])
    }),
    pagination: works(async ({ manager }) => {
      await manager.insert(itemSchema, ITEMS.slice(0, 25))
      const options = { order: { id: 'ASC' }, take: 10, skip: 20 } as const
      const [page, count] = await manager.findAndCount(itemSchema, options)
      expect([count, page.map(({ id }) => id)]).toEqual([25, [20, 21, 22, 23, 24]])
    }),
    JSON: works(async ({ manager }) => {
      await manager.save(ownerSchema, { name: 'George', profile: { city: 'Madison' } })
      const found = await manager
        .createQueryBuilder(ownerSchema, 'owner')
        .where(`owner.profile ->> 'city' = :city`, { city: 'Madison' })
        .getOne()
      expect(found?.profile).toEqual({ city: 'Madison' })
    }),
    'UUID keys': works(async ({ manager }) => {
      const { id } = await manager.save(ownerSchema, { name: 'George' })
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      expect(await manager.countBy(ownerSchema, { id })).toBe(1)
    }),
    timestamps: works(async ({ manager }) => {
      const { id, createdAt } = await manager.save(ownerSchema, { name: 'George' })
      await manager.update(ownerSchema, { id }, { name: 'Jorge' })
      const found = await manager.findOneByOrFail(ownerSchema, { id })
      expect(found.createdAt).toEqual(createdAt)
      expect(found.updatedAt >= createdAt).toBe(true)
    }),
    'optimistic locking': works(async ({ manager }) => {
      const { id } = await manager.save(ownerSchema, { name: 'George' })
      await manager.save(ownerSchema, { id, name: 'Jorge' })
      const lock = (version: number) =>
        manager.findOne(ownerSchema, { where: { id }, lock: { mode: 'optimistic', version } })
      expect(await lock(2)).toMatchObject({ name: 'Jorge' })
      await expect(lock(1)).rejects.toBeInstanceOf(OptimisticLockVersionMismatchError)
    }),
    'row locks': worksWith(
      '`pessimistic_write` or `for_key_share`. `pessimistic_read` and `for_no_key_update` fail with 0A000.',
      async ({ manager }) => {
        await manager.insert(itemSchema, one)
        await manager.transaction(async (own) => {
          for (const mode of ['pessimistic_write', 'for_key_share'] as const)
            expect(await own.find(itemSchema, { lock: { mode } })).toHaveLength(1)
        })
      },
      {
        code: '0A000',
        run: ({ manager }) =>
          manager.transaction((own) =>
            own.find(itemSchema, { lock: { mode: 'pessimistic_read' } }),
          ),
      },
    ),
    transactions: works(async ({ manager }) => {
      await manager.transaction((own) => own.insert(itemSchema, one))
      const failure = new Error('changed my mind')
      const failed = manager.transaction(async (own) => {
        await own.insert(itemSchema, { id: 2, name: 'two' })
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await manager.find(itemSchema)).toEqual([one])
    }),
    'isolation level': worksWith(
      '`REPEATABLE READ` in `typeormOptions` and `typeormTransaction`, which leave it out, since it is the only level. `dataSource.transaction("REPEATABLE READ", fn)` sends `SET TRANSACTION`, which fails with 0A000.',
      async (db, { login }) => {
        const isolationLevel = 'REPEATABLE READ'
        await typeormTransaction(db, (own) => own.insert(itemSchema, one), { isolationLevel })
        const other = await new DataSource(typeormOptions(login, { isolationLevel })).initialize()
        expect(await other.transaction((own) => own.query('SHOW transaction_isolation'))).toEqual([
          { transaction_isolation: 'repeatable read' },
        ])
        await other.destroy()
      },
      { code: '0A000', run: (db) => db.transaction('REPEATABLE READ', async () => {}) },
    ),
    'read-only transactions': undefined,
    'nested transactions': not(
      'a nested `manager.transaction()` is a savepoint. Use the outer `manager`.',
      '0A000',
      (db) => db.transaction((own) => own.transaction(async () => {})),
    ),
    introspection: works(async (db) => {
      const runner = db.createQueryRunner()
      try {
        const table = await runner.getTable('owner')
        expect(table?.columns.map(({ name, type }) => [name, type])).toEqual(
          expect.arrayContaining([
            ['id', 'uuid'],
            ['profile', 'jsonb'],
          ]),
        )
        expect((await runner.getTable('pet'))?.foreignKeys).toHaveLength(1)
      } finally {
        await runner.release()
      }
    }),
  },
}

/** The features of Sequelize 7. */
import {
  DataTypes,
  IsolationLevel,
  Lock,
  type Model,
  type ModelStatic,
  OptimisticLockError,
  Sequelize,
  TransactionNestMode,
} from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import {
  sequelizeHook,
  sequelizeOptions,
  sequelizeTransaction,
} from '../../../../adapters/sequelize-7.js'
import { insertInChunks } from '../../../../core/index.js'
import { ITEMS, type OrmFeatures, works, worksWith } from '../features.js'

type Row = ModelStatic<Model<Record<string, unknown>>>

interface Db {
  readonly sequelize: Sequelize<PostgresDialect>
  readonly Owner: Row
  readonly Pet: Row
  readonly Item: Row
}

function modelsOf(sequelize: Sequelize<PostgresDialect>): Db {
  const id = { type: DataTypes.UUID, primaryKey: true, defaultValue: DataTypes.UUIDV4 } as never
  const Owner = sequelize.define(
    'owner',
    { id, name: DataTypes.TEXT, profile: DataTypes.JSONB },
    { tableName: 'owner', underscored: true, version: true },
  ) as Row
  const Pet = sequelize.define(
    'pet',
    { id, name: DataTypes.TEXT },
    { tableName: 'pet', underscored: true, timestamps: false },
  ) as Row
  const Item = sequelize.define(
    'item',
    { id: { type: DataTypes.INTEGER, primaryKey: true }, name: DataTypes.TEXT },
    { tableName: 'item', timestamps: false },
  ) as Row
  Owner.hasMany(Pet, { foreignKey: 'ownerId', inverse: { as: 'owner' }, as: 'pets' } as never)
  return { sequelize, Owner, Pet, Item }
}

const { REPEATABLE_READ } = IsolationLevel

async function closeAll(sequelize: Sequelize<PostgresDialect>): Promise<void> {
  // Sequelize (7.0.0-alpha.48) does not wait for its connections otherwise.
  await sequelize.pool.drain()
  await sequelize.close()
}

export const orm: OrmFeatures<Db> = {
  name: 'Sequelize 7',
  open: (login) => modelsOf(new Sequelize(sequelizeOptions(login, { logging: false }))),
  close: ({ sequelize }) => closeAll(sequelize),
  cells: {
    'first connection': works(async (_, { login }) => {
      const hook = sequelizeHook(login)
      const hooks = { beforeConnect: hook, afterConnect: hook }
      const options = [
        sequelizeOptions(login, { logging: false }),
        { dialect: PostgresDialect, logging: false, hooks } as const,
      ]
      for (const each of options) {
        const sequelize = new Sequelize(each)
        await sequelize.authenticate()
        expect(await sequelize.fetchDatabaseVersion()).toMatch(/^16\./)
        await closeAll(sequelize)
      }
    }),
    CRUD: works(async ({ Owner }) => {
      const george = await Owner.create({ name: 'George' })
      await george.update({ name: 'Jorge' })
      expect((await Owner.findByPk(george.get('id') as string))?.get('name')).toBe('Jorge')
      await george.destroy()
      expect(await Owner.count()).toBe(0)
    }),
    relations: works(async ({ Owner, Pet }) => {
      const george = await Owner.create({ name: 'George' })
      await Pet.create({ name: 'Leo', ownerId: george.get('id') })
      await expect(george.destroy()).rejects.toMatchObject({ cause: { code: '23503' } })
      expect(await Pet.count({ where: { ownerId: george.get('id') as string } })).toBe(1)
    }),
    'eager loading': works(async ({ Owner, Pet }) => {
      const george = await Owner.create({ name: 'George' })
      for (const name of ['Leo', 'Max']) await Pet.create({ name, ownerId: george.get('id') })
      const found = await Owner.findOne({ include: ['pets'], order: [['pets', 'name', 'ASC']] })
      const pets = found?.get('pets') as Model<Record<string, unknown>>[]
      expect(pets.map((pet) => pet.get('name'))).toEqual(['Leo', 'Max'])
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => Item.bulkCreate(chunk))`.',
      async ({ Item }) => {
        await insertInChunks(ITEMS, (chunk) => Item.bulkCreate(chunk))
        expect(await Item.count()).toBe(ITEMS.length)
      },
      { code: '54000', run: ({ Item }) => Item.bulkCreate([...ITEMS]) },
    ),
    upsert: works(async ({ Item }) => {
      await Item.upsert({ id: 1, name: 'one' })
      await Item.upsert({ id: 1, name: 'two' })
      await Item.bulkCreate([{ id: 1, name: 'three' }], { updateOnDuplicate: ['name'] })
      expect((await Item.findAll({ raw: true })) as unknown).toEqual([{ id: 1, name: 'three' }])
    }),
    pagination: works(async ({ Item }) => {
      await Item.bulkCreate(ITEMS.slice(0, 25))
      const page = await Item.findAndCountAll({ order: ['id'], limit: 10, offset: 20 })
      expect([page.count, page.rows.map((row) => row.get('id'))]).toEqual([
        25,
        [20, 21, 22, 23, 24],
      ])
    }),
    JSON: works(async ({ Owner }) => {
      await Owner.create({ name: 'George', profile: { city: 'Madison', tags: ['a'] } })
      const found = await Owner.findOne({ where: { 'profile.city': 'Madison' } })
      expect(found?.get('profile')).toEqual({ city: 'Madison', tags: ['a'] })
    }),
    'UUID keys': works(async ({ Owner }) => {
      const id = (await Owner.create({ name: 'George' })).get('id') as string
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      expect(await Owner.count({ where: { id: [id] } })).toBe(1)
    }),
    timestamps: works(async ({ Owner }) => {
      const george = await Owner.create({ name: 'George' })
      const created = george.get('createdAt') as Date
      const found = await Owner.findByPk(george.get('id') as string)
      expect(found?.get('createdAt')).toEqual(created)
      await george.update({ name: 'Jorge' })
      expect((george.get('updatedAt') as Date) >= created).toBe(true)
    }),
    'optimistic locking': works(async ({ Owner }) => {
      const id = (await Owner.create({ name: 'George' })).get('id') as string
      const [first, second] = [await Owner.findByPk(id), await Owner.findByPk(id)]
      await first!.update({ name: 'Jorge' })
      await expect(second!.update({ name: 'Georg' })).rejects.toBeInstanceOf(OptimisticLockError)
    }),
    'row locks': worksWith(
      '`lock: Lock.UPDATE` or `Lock.KEY_SHARE`. `SHARE` and `NO_KEY_UPDATE` fail with 0A000.',
      async ({ sequelize, Item }) => {
        await Item.create({ id: 1, name: 'one' })
        await sequelize.transaction(async () => {
          for (const lock of [Lock.UPDATE, Lock.KEY_SHARE])
            expect(await Item.findAll({ lock })).toHaveLength(1)
        })
      },
      {
        code: '0A000',
        run: ({ sequelize, Item }) =>
          sequelize.transaction(() => Item.findAll({ lock: Lock.SHARE })),
      },
    ),
    transactions: works(async ({ sequelize, Item }) => {
      await sequelize.transaction(() => Item.create({ id: 1, name: 'one' }))
      const failure = new Error('changed my mind')
      const failed = sequelize.transaction(async () => {
        await Item.create({ id: 2, name: 'two' })
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await Item.count()).toBe(1)
    }),
    'isolation level': worksWith(
      '`REPEATABLE READ` in `sequelizeOptions` and `sequelizeTransaction`, which leave it out, since it is the only level. `sequelize.transaction({ isolationLevel })` sends `SET TRANSACTION`, which fails with 0A000.',
      async ({ sequelize, Item }, { login }) => {
        await sequelizeTransaction(sequelize, () => Item.create({ id: 1, name: 'one' }), {
          isolationLevel: REPEATABLE_READ,
        })
        const options = { logging: false, isolationLevel: REPEATABLE_READ } as const
        const other = new Sequelize(sequelizeOptions(login, options))
        await other.transaction(async () => {
          const [rows] = await other.query('SHOW transaction_isolation')
          expect([rows].flat()).toEqual([{ transaction_isolation: 'repeatable read' }])
        })
        await closeAll(other)
      },
      {
        code: '0A000',
        run: ({ sequelize }) =>
          sequelize.transaction({ isolationLevel: REPEATABLE_READ }, async () => {}),
      },
    ),
    'read-only transactions': works(async ({ sequelize, Item }) => {
      await sequelize.transaction({ readOnly: true }, () => Item.findAll())
      const failed = sequelize.transaction({ readOnly: true }, () =>
        Item.create({ id: 1, name: 'one' }),
      )
      await expect(failed).rejects.toMatchObject({ cause: { code: '25006' } })
    }),
    'nested transactions': worksWith(
      '`TransactionNestMode.reuse`, the default, which joins the outer transaction. `TransactionNestMode.savepoint` fails with 0A000.',
      async ({ sequelize, Item }) => {
        const failed = sequelize.transaction(async (outer) => {
          await sequelize.transaction(async (inner) => {
            expect(inner).toBe(outer)
            await Item.create({ id: 1, name: 'one' })
          })
          throw new Error('changed my mind')
        })
        await expect(failed).rejects.toThrow('changed my mind')
        expect(await Item.count()).toBe(0)
      },
      {
        code: '0A000',
        run: ({ sequelize }) =>
          sequelize.transaction(() =>
            sequelize.transaction({ nestMode: TransactionNestMode.savepoint }, async () => {}),
          ),
      },
    ),
    introspection: works(async ({ sequelize }) => {
      const queries = sequelize.queryInterface
      const tables = await queries.listTables()
      expect(tables.map(({ tableName }) => tableName)).toEqual(
        expect.arrayContaining(['owner', 'pet']),
      )
      expect(await queries.describeTable('owner')).toMatchObject({
        id: { type: 'UUID', primaryKey: true },
        profile: { type: 'JSONB', allowNull: true },
        version: { type: 'INTEGER', allowNull: false },
      })
      expect(await queries.showIndex('owner')).toHaveLength(2)
    }),
  },
}

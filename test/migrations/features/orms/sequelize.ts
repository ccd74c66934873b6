/** The features of Sequelize 6. */
import {
  DataTypes,
  type Model,
  type ModelStatic,
  Op,
  OptimisticLockError,
  Sequelize,
  Transaction,
} from 'sequelize'
import {
  sequelizeHook,
  sequelizeOptions,
  sequelizeTransaction,
} from '../../../../adapters/sequelize.js'
import { insertInChunks } from '../../../../core/index.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'

type Row = ModelStatic<Model>

interface Db {
  readonly sequelize: Sequelize
  readonly Owner: Row
  readonly Pet: Row
  readonly Item: Row
}

function modelsOf(sequelize: Sequelize): Db {
  const id = { type: DataTypes.UUID, primaryKey: true, defaultValue: DataTypes.UUIDV4 }
  const Owner: Row = sequelize.define(
    'owner',
    { id, name: DataTypes.TEXT, profile: DataTypes.JSONB },
    { tableName: 'owner', underscored: true, version: true },
  )
  const Pet: Row = sequelize.define(
    'pet',
    { id, name: DataTypes.TEXT },
    { tableName: 'pet', underscored: true, timestamps: false },
  )
  const Item: Row = sequelize.define(
    'item',
    { id: { type: DataTypes.INTEGER, primaryKey: true }, name: DataTypes.TEXT },
    { tableName: 'item', timestamps: false },
  )
  Owner.hasMany(Pet, { foreignKey: 'ownerId' })
  Pet.belongsTo(Owner, { foreignKey: 'ownerId' })
  return { sequelize, Owner, Pet, Item }
}

const { REPEATABLE_READ } = Transaction.ISOLATION_LEVELS

export const orm: OrmFeatures<Db> = {
  name: 'Sequelize 6',
  open: (login) => modelsOf(new Sequelize(sequelizeOptions(login, { logging: false }))),
  close: ({ sequelize }) => sequelize.close(),
  cells: {
    'first connection': works(async (_, { login }) => {
      const hooks = { beforeConnect: sequelizeHook(login) }
      const options = [
        sequelizeOptions(login, { logging: false }),
        { dialect: 'postgres', logging: false, hooks } as const,
      ]
      for (const each of options) {
        const sequelize = new Sequelize(each)
        await sequelize.authenticate()
        expect(await sequelize.databaseVersion()).toMatch(/^16\./)
        await sequelize.close()
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
      await expect(george.destroy()).rejects.toMatchObject({ original: { code: '23503' } })
      expect(await Pet.count({ where: { ownerId: george.get('id') } })).toBe(1)
    }),
    'eager loading': works(async ({ Owner, Pet }) => {
      await Owner.create({ name: 'George', pets: [{ name: 'Leo' }, { name: 'Max' }] }, {
        include: [Pet],
      } as object)
      const found = await Owner.findOne({ include: [Pet], order: [[Pet, 'name', 'ASC']] })
      const pets = found?.get('pets') as Model[]
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
      expect(await Owner.count({ where: { id: { [Op.in]: [id] } } })).toBe(1)
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
      '`lock: transaction.LOCK.UPDATE` or `KEY_SHARE`; `SHARE` and `NO_KEY_UPDATE` fail with 0A000.',
      async ({ sequelize, Item }) => {
        await Item.create({ id: 1, name: 'one' })
        await sequelize.transaction(async (transaction) => {
          const { UPDATE, KEY_SHARE } = transaction.LOCK
          for (const lock of [UPDATE, KEY_SHARE])
            expect(await Item.findAll({ transaction, lock })).toHaveLength(1)
        })
      },
      {
        code: '0A000',
        run: ({ sequelize, Item }) =>
          sequelize.transaction((transaction) =>
            Item.findAll({ transaction, lock: transaction.LOCK.SHARE }),
          ),
      },
    ),
    transactions: works(async ({ sequelize, Item }) => {
      await sequelize.transaction((transaction) =>
        Item.create({ id: 1, name: 'one' }, { transaction }),
      )
      const failure = new Error('changed my mind')
      const failed = sequelize.transaction(async (transaction) => {
        await Item.create({ id: 2, name: 'two' }, { transaction })
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await Item.count()).toBe(1)
    }),
    'isolation level': worksWith(
      '`REPEATABLE READ` in `sequelizeOptions` and `sequelizeTransaction`, which leave it out, since it is the only level. `sequelize.transaction({ isolationLevel })` sends `SET TRANSACTION`, which fails with 0A000.',
      async ({ sequelize, Item }, { login }) => {
        const work = (transaction: Transaction) =>
          Item.create({ id: 1, name: 'one' }, { transaction })
        await sequelizeTransaction(sequelize, work, { isolationLevel: REPEATABLE_READ })
        const options = { logging: false, isolationLevel: REPEATABLE_READ } as const
        const other = new Sequelize(sequelizeOptions(login, options))
        await other.transaction(async (transaction) => {
          const [rows] = await other.query('SHOW transaction_isolation', { transaction })
          expect([rows].flat()).toEqual([{ transaction_isolation: 'repeatable read' }])
        })
        await other.close()
      },
      {
        code: '0A000',
        run: ({ sequelize }) =>
          sequelize.transaction({ isolationLevel: REPEATABLE_READ }, async () => {}),
      },
    ),
    'read-only transactions': undefined,
    'nested transactions': not(
      'a nested `sequelize.transaction({ transaction })` is a savepoint. Pass the outer `transaction` on.',
      '0A000',
      ({ sequelize }) =>
        sequelize.transaction((transaction) =>
          sequelize.transaction({ transaction }, async () => {}),
        ),
    ),
    introspection: works(async ({ sequelize }) => {
      const queries = sequelize.getQueryInterface()
      expect(await queries.showAllTables()).toEqual(expect.arrayContaining(['owner', 'pet']))
      expect(await queries.describeTable('owner')).toMatchObject({
        id: { type: 'UUID', primaryKey: true },
        profile: { type: 'JSONB', allowNull: true },
        version: { type: 'INTEGER', allowNull: false },
      })
      expect(await queries.showIndex('owner')).toHaveLength(2)
    }),
  },
}

/** What MikroORM can do in ordinary use on Aurora DSQL, as test/migrations/features has it of the other ORMs. */
import { EntitySchema, LockMode, MikroORM, type Options } from '@mikro-orm/postgresql'
import { mikroOrmOptions, mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import { insertInChunks, type Login } from '../../core/index.js'
import { sqlStateOf } from '../../core/transactions/is-occ-conflict.js'
import {
  describeFeatures,
  ITEMS,
  type OrmFeatures,
  useTables,
  works,
  worksWith,
} from '../migrations/features/features.js'
import type { Manager } from './client.js'

class Owner {
  id!: string
  name!: string
  profile?: { city: string } | null
  version?: number
  createdAt?: Date
  updatedAt?: Date
  pets!: Iterable<Pet> & { add(pet: Pet): unknown; getItems(): Pet[] }
}

class Pet {
  id!: string
  name!: string
  owner!: Owner
}

class Item {
  id!: number
  name!: string
}

const now = (): Date => new Date()
const id = { type: 'uuid', primary: true, defaultRaw: 'gen_random_uuid()' } as const
const entities = [
  new EntitySchema<Owner>({
    class: Owner,
    tableName: 'owner',
    properties: {
      id,
      name: { type: 'text', unique: true },
      profile: { type: 'json', columnType: 'jsonb', nullable: true },
      version: { type: 'integer', version: true },
      createdAt: { type: 'datetime', fieldName: 'created_at', onCreate: now },
      updatedAt: { type: 'datetime', fieldName: 'updated_at', onCreate: now, onUpdate: now },
      pets: { kind: '1:m', entity: () => Pet, mappedBy: 'owner' },
    } as never,
  }),
  new EntitySchema<Pet>({
    class: Pet,
    tableName: 'pet',
    properties: {
      id,
      name: { type: 'text' },
      owner: { kind: 'm:1', entity: () => Owner, fieldName: 'owner_id' },
    } as never,
  }),
  new EntitySchema<Item>({
    class: Item,
    tableName: 'item',
    properties: { id: { type: 'integer', primary: true }, name: { type: 'text' } },
  }),
]

interface Db {
  readonly orm: MikroORM
  /** With an identity map of its own. */
  em(): Manager
}

function open(login: Login): Db {
  const orm = new MikroORM(mikroOrmOptions(login, { entities }) as Options)
  return { orm, em: () => orm.em.fork() as Manager }
}

async function george(em: Manager): Promise<Owner> {
  const owner = em.create(Owner, { name: 'George', profile: { city: 'Madison' } } as never)
  await em.flush()
  return owner
}

const one = { id: 1, name: 'one' }
const ids = (items: readonly Item[]): number[] => items.map((item) => item.id)

const features: OrmFeatures<Db> = {
  name: 'MikroORM',
  open,
  close: ({ orm }) => orm.close(true),
  cells: {
    'first connection': works(async (_, { login }) => {
      const { orm } = open(login)
      await orm.em.execute('SELECT 1')
      await orm.close(true)
    }),
    CRUD: works(async ({ em }) => {
      const own = em()
      const owner = await george(own)
      owner.name = 'Jorge'
      await own.flush()
      expect(await em().findOne(Owner, { id: owner.id })).toMatchObject({ name: 'Jorge' })
      own.remove(owner)
      await own.flush()
      expect(await em().count(Owner)).toBe(0)
    }),
    relations: works(async ({ em }) => {
      const own = em()
      const owner = await george(own)
      own.create(Pet, { name: 'Leo', owner } as never)
      await own.flush()
      const failed = em().nativeDelete(Owner, { id: owner.id })
      await expect(failed).rejects.toMatchObject({ code: '23503' })
      expect(await em().count(Pet, { owner: { name: 'George' } })).toBe(1)
    }),
    'eager loading': works(async ({ em }) => {
      const own = em()
      const owner = await george(own)
      for (const name of ['Leo', 'Max']) own.create(Pet, { name, owner } as never)
      await own.flush()
      for (const strategy of ['joined', 'select-in'] as const) {
        const options = { populate: ['pets'], orderBy: { pets: { name: 'asc' } }, strategy }
        const [found] = await em().find(Owner, {}, options as never)
        expect(found?.pets.getItems().map(({ name }) => name)).toEqual(['Leo', 'Max'])
      }
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => em.insertMany(Item, chunk))`. `em.flush()` is one transaction: flush once for at most 3,000 rows.',
      async ({ em }) => {
        await insertInChunks(ITEMS, (chunk) => em().insertMany(Item, chunk))
        expect(await em().count(Item)).toBe(ITEMS.length)
      },
      { code: '54000', run: ({ em }) => em().insertMany(Item, [...ITEMS]) },
    ),
    upsert: works(async ({ em }) => {
      await em().upsert(Item, one)
      await em().upsert(Item, { id: 1, name: 'two' })
      await em().upsertMany(Item, [{ id: 1, name: 'three' }])
      expect(await em().find(Item, {})).toEqual([{ id: 1, name: 'three' }])
    }),
    pagination: works(async ({ em }) => {
      await em().insertMany(Item, ITEMS.slice(0, 25))
      const options = { orderBy: { id: 'asc' }, limit: 10, offset: 20 } as const
      const [page, count] = await em().findAndCount(Item, {}, options)
      expect([count, ids(page)]).toEqual([25, [20, 21, 22, 23, 24]])
      const first = { first: 2, orderBy: { id: 'asc' } } as const
      const cursor = await em().findByCursor(Item, first)
      const next = await em().findByCursor(Item, { ...first, after: cursor })
      expect(ids(next.items)).toEqual([2, 3])
    }),
    JSON: works(async ({ em }) => {
      await george(em())
      const found = await em().findOne(Owner, { profile: { city: 'Madison' } })
      expect(found?.profile).toEqual({ city: 'Madison' })
    }),
    'UUID keys': works(async ({ em }) => {
      const owner = await george(em())
      expect(owner.id).toMatch(/^[0-9a-f-]{36}$/)
      expect(await em().count(Owner, { id: { $in: [owner.id] } })).toBe(1)
    }),
    timestamps: works(async ({ em }) => {
      const own = em()
      const owner = await george(own)
      owner.name = 'Jorge'
      await own.flush()
      const found = await em().findOneOrFail(Owner, { id: owner.id })
      expect(found.createdAt).toEqual(owner.createdAt)
      expect(found.updatedAt! >= found.createdAt!).toBe(true)
    }),
    'optimistic locking': works(async ({ em }) => {
      const { id } = await george(em())
      const [first, second] = [em(), em()]
      const [mine, other] = [
        await first.findOneOrFail(Owner, { id }),
        await second.findOneOrFail(Owner, { id }),
      ]
      mine.name = 'Jorge'
      await first.flush()
      other.name = 'Georg'
      await expect(second.flush()).rejects.toMatchObject({ name: 'OptimisticLockError' })
    }),
    'row locks': worksWith(
      '`LockMode.PESSIMISTIC_WRITE`. `PESSIMISTIC_READ` fails with 0A000.',
      async ({ em }) => {
        await em().insert(Item, one)
        await em().transactional(async (own) => {
          expect(await own.find(Item, {}, { lockMode: LockMode.PESSIMISTIC_WRITE })).toHaveLength(1)
        })
      },
      {
        code: '0A000',
        run: ({ em }) =>
          em().transactional((own) => own.find(Item, {}, { lockMode: LockMode.PESSIMISTIC_READ })),
      },
    ),
    transactions: works(async ({ em }) => {
      await em().transactional(async (own) => own.insert(Item, one))
      const failure = new Error('changed my mind')
      const failed = em().transactional(async (own) => {
        await own.insert(Item, { id: 2, name: 'two' })
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await em().find(Item, {})).toEqual([one])
    }),
    'isolation level': works(async ({ orm, em }) => {
      const work = (own: Manager): Promise<number> => own.count(Item)
      // MikroORM (7.2) adds properties to the options.
      const level = (isolationLevel: string) => ({ isolationLevel }) as never
      await em().transactional(work, level('repeatable read'))
      await mikroOrmTransaction(orm.em as Manager, work, level('repeatable read'))
      const other = em().transactional(work, level('serializable'))
      expect(sqlStateOf(await other.catch((error: unknown) => error))).toBe('0A000')
    }),
    'read-only transactions': works(async ({ em }) => {
      await em().transactional((own) => own.count(Item), { readOnly: true })
      const failed = em().transactional((own) => own.insert(Item, one), { readOnly: true })
      await expect(failed).rejects.toMatchObject({ code: '25006' })
    }),
    'nested transactions': worksWith(
      '`em.transactional(fn, { propagation: "required" })`, which joins the outer transaction. The default of `em.transactional()` is a savepoint, which fails with 0A000.',
      async ({ em }) => {
        const failed = em().transactional(async (outer) => {
          await outer.transactional((own) => own.insert(Item, one), { propagation: 'required' })
          throw new Error('changed my mind')
        })
        await expect(failed).rejects.toThrow('changed my mind')
        expect(await em().count(Item)).toBe(0)
      },
      {
        code: '0A000',
        run: ({ em }) =>
          em().transactional((outer) => outer.transactional((own) => own.insert(Item, one))),
      },
    ),
    introspection: works(async ({ orm }) => {
      const sql = await orm.schema.getUpdateSchemaSQL({ safe: true, dropTables: false })
      // It finds the tables, the columns and the constraints, some of which have other names.
      expect(sql).not.toMatch(/create table|add column|drop column/)
      expect(sql).toContain('drop constraint "pet_owner_id_fkey"')
    }),
  },
}

describeFeatures(features, useTables())

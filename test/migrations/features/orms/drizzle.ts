/** The features of Drizzle, which are the same on pg and on Postgres.js. */
import { and, asc, eq, relations, sql } from 'drizzle-orm'
import {
  integer,
  jsonb,
  type PgDatabase,
  type PgTransactionConfig,
  pgTable,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import {
  drizzleClient as onPg,
  drizzleTransaction as transactionOnPg,
} from '../../../../adapters/drizzle.js'
import {
  drizzleClient as onPostgresJs,
  drizzleTransaction as transactionOnPostgresJs,
} from '../../../../adapters/drizzle-postgres-js.js'
import { insertInChunks, type Login } from '../../../../core/index.js'
import { sqlStateOf } from '../../../../core/transactions/is-occ-conflict.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'

const owner = pgTable('owner', {
  id: uuid().defaultRandom().primaryKey(),
  name: text().notNull().unique(),
  profile: jsonb().$type<{ city: string }>(),
  version: integer().notNull().default(1),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  updatedAt: timestamp('updated_at', { withTimezone: true })
    .notNull()
    .defaultNow()
    .$onUpdate(() => new Date()),
})
const pet = pgTable('pet', {
  id: uuid().defaultRandom().primaryKey(),
  ownerId: uuid('owner_id')
    .notNull()
    .references(() => owner.id),
  name: text().notNull(),
})
const item = pgTable('item', { id: integer().primaryKey(), name: text().notNull() })
const schema = {
  ...{ owner, pet, item },
  ownerRelations: relations(owner, ({ many }) => ({ pets: many(pet) })),
  petRelations: relations(pet, ({ one }) => ({
    owner: one(owner, { fields: [pet.ownerId], references: [owner.id] }),
  })),
}

type Db = PgDatabase<never, typeof schema> & { $client: { end(): Promise<void> } }
type Transaction = Pick<Db, 'insert' | 'select' | 'execute' | 'transaction'>

interface Driver {
  readonly name: string
  readonly open: (login: Login) => Db
  readonly transaction: (
    db: Db,
    work: (transaction: Transaction) => Promise<unknown>,
    config: PgTransactionConfig,
  ) => Promise<unknown>
}

const DRIVERS: readonly Driver[] = [
  {
    name: 'Drizzle on pg',
    open: (login) => onPg(login, { schema }) as unknown as Db,
    transaction: (db, work, config) =>
      transactionOnPg(db as never, (own) => work(own as unknown as Transaction), config),
  },
  {
    name: 'Drizzle on Postgres.js',
    open: (login) => onPostgresJs(login, { schema }) as unknown as Db,
    transaction: (db, work, config) =>
      transactionOnPostgresJs(db as never, (own) => work(own as unknown as Transaction), config),
  },
]

const one = { id: 1, name: 'one' }
const insertGeorge = async (db: Db) => {
  const values = { name: 'George', profile: { city: 'Madison' } }
  const [george] = await db.insert(owner).values(values).returning()
  return george!
}

const ormOn = ({ name, open, transaction }: Driver): OrmFeatures<Db> => ({
  name,
  open,
  close: (db) => db.$client.end(),
  cells: {
    'first connection': works(async (_, { login }) => {
      const db = open(login)
      await db.execute(sql`SELECT 1`)
      await db.$client.end()
    }),
    CRUD: works(async (db) => {
      const { id } = await insertGeorge(db)
      await db.update(owner).set({ name: 'Jorge' }).where(eq(owner.id, id))
      expect(await db.select({ name: owner.name }).from(owner)).toEqual([{ name: 'Jorge' }])
      expect(await db.delete(owner).returning({ name: owner.name })).toEqual([{ name: 'Jorge' }])
    }),
    relations: works(async (db) => {
      const { id } = await insertGeorge(db)
      await db.insert(pet).values({ ownerId: id, name: 'Leo' })
      await expect(db.delete(owner)).rejects.toMatchObject({ cause: { code: '23503' } })
      const found = await db.select().from(owner).innerJoin(pet, eq(pet.ownerId, owner.id))
      expect(found.map((row) => row.pet.name)).toEqual(['Leo'])
    }),
    'eager loading': works(async (db) => {
      const { id } = await insertGeorge(db)
      await db.insert(pet).values({ ownerId: id, name: 'Leo' })
      await db.insert(pet).values({ ownerId: id, name: 'Max' })
      const found = await db.query.owner.findMany({
        with: { pets: { columns: { name: true }, orderBy: asc(pet.name) } },
      })
      expect(found[0]?.pets).toEqual([{ name: 'Leo' }, { name: 'Max' }])
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => db.insert(item).values(chunk))`.',
      async (db) => {
        await insertInChunks(ITEMS, (chunk) => db.insert(item).values(chunk))
        expect(await db.$count(item)).toBe(ITEMS.length)
      },
      { code: '54000', run: async (db) => db.insert(item).values([...ITEMS]) },
    ),
    upsert: works(async (db) => {
      for (const name of ['one', 'two'])
        await db
          .insert(item)
          .values({ id: 1, name })
          .onConflictDoUpdate({ target: item.id, set: { name: sql`excluded.name` } })
      expect(await db.select().from(item)).toEqual([{ id: 1, name: 'two' }])
    }),
    pagination: works(async (db) => {
      await db.insert(item).values(ITEMS.slice(0, 25))
      const page = await db.select().from(item).orderBy(asc(item.id)).limit(10).offset(20)
      expect(page.map(({ id }) => id)).toEqual([20, 21, 22, 23, 24])
    }),
    JSON: works(async (db) => {
      await insertGeorge(db)
      const found = await db
        .select({ profile: owner.profile })
        .from(owner)
        .where(sql`${owner.profile} ->> 'city' = 'Madison'`)
      expect(found).toEqual([{ profile: { city: 'Madison' } }])
    }),
    'UUID keys': works(async (db) => {
      const { id } = await insertGeorge(db)
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      expect(await db.$count(owner, eq(owner.id, id))).toBe(1)
    }),
    timestamps: works(async (db) => {
      const { createdAt } = await insertGeorge(db)
      await db.update(owner).set({ name: 'Jorge' })
      const [found] = await db.select().from(owner)
      expect(found?.createdAt).toEqual(createdAt)
      expect(found!.updatedAt >= createdAt).toBe(true)
    }),
    'optimistic locking': works(async (db) => {
      const { id } = await insertGeorge(db)
      const change = async (): Promise<number> => {
        const changed = await db
          .update(owner)
          .set({ version: sql`${owner.version} + 1` })
          .where(and(eq(owner.id, id), eq(owner.version, 1)))
          .returning({ id: owner.id })
        return changed.length
      }
      expect([await change(), await change()]).toEqual([1, 0])
    }),
    'row locks': worksWith(
      '`.for("update")` or `.for("key share")`. `share` and `no key update` fail with 0A000.',
      async (db) => {
        await db.insert(item).values(one)
        await db.transaction(async (own) => {
          expect(await own.select().from(item).for('update', { skipLocked: true })).toHaveLength(1)
          expect(await own.select().from(item).for('key share')).toHaveLength(1)
        })
      },
      { code: '0A000', run: async (db) => db.select().from(item).for('share') },
    ),
    transactions: works(async (db) => {
      await db.transaction(async (own) => own.insert(item).values(one))
      const failure = new Error('changed my mind')
      const failed = db.transaction(async (own) => {
        await own.insert(item).values({ id: 2, name: 'two' })
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await db.select().from(item)).toEqual([one])
    }),
    'isolation level': works(async (db) => {
      const level = { isolationLevel: 'repeatable read' } as const
      await db.transaction(async (own) => own.select().from(item), level)
      await transaction(db, async (own) => own.select().from(item), level)
      const other = db.transaction(async () => {}, { isolationLevel: 'serializable' })
      expect(sqlStateOf(await other.catch((error: unknown) => error))).toBe('0A000')
    }),
    'read-only transactions': works(async (db) => {
      const readOnly = { accessMode: 'read only' } as const
      await db.transaction(async (own) => own.select().from(item), readOnly)
      const failed = db.transaction(async (own) => own.insert(item).values(one), readOnly)
      await expect(failed).rejects.toMatchObject({ cause: { code: '25006' } })
    }),
    'nested transactions': not(
      'a nested `tx.transaction()` is a savepoint. Use the outer `tx`.',
      '0A000',
      (db) => db.transaction((own) => own.transaction(async () => {})),
    ),
    introspection: undefined,
  },
})

export const orms: readonly OrmFeatures<Db>[] = DRIVERS.map(ormOn)

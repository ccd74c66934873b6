/** The features of Kysely. */
import { type Generated, type JSONColumnType, Kysely, sql } from 'kysely'
import { jsonArrayFrom } from 'kysely/helpers/postgres'
import { kyselyDialect, kyselyTransaction } from '../../../../adapters/kysely.js'
import { insertInChunks } from '../../../../core/index.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'

interface Tables {
  owner: {
    id: Generated<string>
    name: string
    profile: JSONColumnType<{ city: string }> | null
    version: Generated<number>
    created_at: Generated<Date>
    updated_at: Generated<Date>
  }
  pet: { id: Generated<string>; owner_id: string; name: string }
  item: { id: number; name: string }
}

type Db = Kysely<Tables>

const george = async (db: Db): Promise<string> => {
  const { id } = await db
    .insertInto('owner')
    .values({ name: 'George', profile: JSON.stringify({ city: 'Madison' }) })
    .returning('id')
    .executeTakeFirstOrThrow()
  return id
}

const one = { id: 1, name: 'one' }

export const orm: OrmFeatures<Db> = {
  name: 'Kysely',
  open: (login) => new Kysely<Tables>({ dialect: kyselyDialect(login) }),
  close: (db) => db.destroy(),
  cells: {
    'first connection': works(async (_, { login }) => {
      const db = new Kysely<Tables>({ dialect: kyselyDialect(login) })
      await sql`SELECT 1`.execute(db)
      await db.destroy()
    }),
    CRUD: works(async (db) => {
      const id = await george(db)
      await db.updateTable('owner').set({ name: 'Jorge' }).where('id', '=', id).execute()
      const found = await db.selectFrom('owner').select('name').execute()
      expect(found).toEqual([{ name: 'Jorge' }])
      const { numDeletedRows } = await db.deleteFrom('owner').executeTakeFirst()
      expect(numDeletedRows).toBe(1n)
    }),
    relations: works(async (db) => {
      const owner_id = await george(db)
      await db.insertInto('pet').values({ owner_id, name: 'Leo' }).execute()
      await expect(db.deleteFrom('owner').execute()).rejects.toMatchObject({ code: '23503' })
      const joined = db.selectFrom('owner').innerJoin('pet', 'pet.owner_id', 'owner.id')
      expect(await joined.select('pet.name').execute()).toEqual([{ name: 'Leo' }])
    }),
    'eager loading': works(async (db) => {
      const owner_id = await george(db)
      await db.insertInto('pet').values({ owner_id, name: 'Leo' }).execute()
      const found = await db
        .selectFrom('owner')
        .select(({ selectFrom }) => [
          'owner.name',
          jsonArrayFrom(
            selectFrom('pet').select('pet.name').whereRef('pet.owner_id', '=', 'owner.id'),
          ).as('pets'),
        ])
        .execute()
      expect(found).toEqual([{ name: 'George', pets: [{ name: 'Leo' }] }])
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => db.insertInto("item").values(chunk).execute())`.',
      async (db) => {
        await insertInChunks(ITEMS, (chunk) => db.insertInto('item').values(chunk).execute())
        const { rows } = await sql`SELECT count(*)::int AS count FROM item`.execute(db)
        expect(rows).toEqual([{ count: ITEMS.length }])
      },
      {
        code: '54000',
        run: (db) =>
          db
            .insertInto('item')
            .values([...ITEMS])
            .execute(),
      },
    ),
    upsert: works(async (db) => {
      for (const name of ['one', 'two'])
        await db
          .insertInto('item')
          .values({ id: 1, name })
          .onConflict((conflict) =>
            conflict.column('id').doUpdateSet(({ ref }) => ({ name: ref('excluded.name') })),
          )
          .execute()
      expect(await db.selectFrom('item').selectAll().execute()).toEqual([{ id: 1, name: 'two' }])
    }),
    pagination: works(async (db) => {
      await db.insertInto('item').values(ITEMS.slice(0, 25)).execute()
      const page = db.selectFrom('item').select('id').orderBy('id').limit(10).offset(20)
      expect((await page.execute()).map(({ id }) => id)).toEqual([20, 21, 22, 23, 24])
    }),
    JSON: works(async (db) => {
      await george(db)
      const found = await db
        .selectFrom('owner')
        .select(({ ref }) => ref('profile', '->>').key('city').as('city'))
        .where(sql<boolean>`profile @> ${JSON.stringify({ city: 'Madison' })}::jsonb`)
        .execute()
      expect(found).toEqual([{ city: 'Madison' }])
    }),
    'UUID keys': works(async (db) => {
      const id = await george(db)
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      const found = db.selectFrom('owner').select('name').where('id', 'in', [id])
      expect(await found.execute()).toEqual([{ name: 'George' }])
    }),
    timestamps: works(async (db) => {
      await george(db)
      await db.updateTable('owner').set({ updated_at: new Date() }).execute()
      const found = await db.selectFrom('owner').selectAll().executeTakeFirstOrThrow()
      expect(found.created_at).toBeInstanceOf(Date)
      expect(found.updated_at >= found.created_at).toBe(true)
    }),
    'optimistic locking': works(async (db) => {
      await george(db)
      const change = async (): Promise<bigint> => {
        const { numUpdatedRows } = await db
          .updateTable('owner')
          .set(({ eb }) => ({ version: eb('version', '+', 1) }))
          .where('version', '=', 1)
          .executeTakeFirst()
        return numUpdatedRows
      }
      expect([await change(), await change()]).toEqual([1n, 0n])
    }),
    'row locks': worksWith(
      '`forUpdate()` or `forKeyShare()`; `forShare()` and `forNoKeyUpdate()` fail with 0A000.',
      async (db) => {
        await db.insertInto('item').values(one).execute()
        await db.transaction().execute(async (trx) => {
          const items = trx.selectFrom('item').selectAll()
          expect(await items.forUpdate().skipLocked().execute()).toHaveLength(1)
          expect(await items.forKeyShare().execute()).toHaveLength(1)
        })
      },
      { code: '0A000', run: (db) => db.selectFrom('item').selectAll().forShare().execute() },
    ),
    transactions: works(async (db) => {
      await db.transaction().execute((trx) => trx.insertInto('item').values(one).execute())
      const failure = new Error('changed my mind')
      const failed = db.transaction().execute(async (trx) => {
        await trx.insertInto('item').values({ id: 2, name: 'two' }).execute()
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await db.selectFrom('item').selectAll().execute()).toEqual([one])
    }),
    'isolation level': works(async (db) => {
      const work = (trx: Db) => trx.selectFrom('item').execute()
      await db.transaction().setIsolationLevel('repeatable read').execute(work)
      await kyselyTransaction(db, work, { isolationLevel: 'repeatable read' })
      const other = db.transaction().setIsolationLevel('serializable').execute(work)
      await expect(other).rejects.toMatchObject({ code: '0A000' })
    }),
    'read-only transactions': works(async (db) => {
      const readOnly = db.transaction().setAccessMode('read only')
      await readOnly.execute((trx) => trx.selectFrom('item').execute())
      const failed = readOnly.execute((trx) => trx.insertInto('item').values(one).execute())
      await expect(failed).rejects.toMatchObject({ code: '25006' })
    }),
    'nested transactions': not(
      '`savepoint()` of a controlled transaction. Use the outer `trx`.',
      '0A000',
      async (db) => {
        const trx = await db.startTransaction().execute()
        try {
          await trx.savepoint('inner').execute()
        } finally {
          await trx.rollback().execute()
        }
      },
    ),
    introspection: works(async (db) => {
      const tables = await db.introspection.getTables()
      const owner = tables.find(({ name }) => name === 'owner')
      expect(owner?.columns).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ name: 'id', dataType: 'uuid', isNullable: false }),
          expect.objectContaining({ name: 'profile', dataType: 'jsonb', isNullable: true }),
        ]),
      )
    }),
  },
}

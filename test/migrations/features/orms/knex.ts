/** The features of Knex. */
import knex, { type Knex } from 'knex'
import { knexConfig, knexTransaction } from '../../../../adapters/knex.js'
import { insertInChunks } from '../../../../core/index.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'

export const orm: OrmFeatures<Knex> = {
  name: 'Knex',
  open: (login) => knex(knexConfig(login)),
  close: (db) => db.destroy(),
  cells: {
    'first connection': works(async (_, { login }) => {
      const db = knex(knexConfig(login))
      await db.raw('SELECT 1')
      await db.destroy()
    }),
    CRUD: works(async (db) => {
      const [george] = await db('owner').insert({ name: 'George' }).returning('*')
      await db('owner').where({ id: george.id }).update({ name: 'Jorge' })
      expect(await db('owner').first('name')).toEqual({ name: 'Jorge' })
      expect(await db('owner').del()).toBe(1)
    }),
    relations: works(async (db) => {
      const [{ id }] = await db('owner').insert({ name: 'George' }).returning('id')
      await db('pet').insert({ owner_id: id, name: 'Leo' })
      await expect(db('owner').del()).rejects.toMatchObject({ code: '23503' })
      const found = await db('owner').join('pet', 'pet.owner_id', 'owner.id').select('pet.name')
      expect(found).toEqual([{ name: 'Leo' }])
    }),
    'eager loading': undefined,
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => db("item").insert(chunk))`. `db.batchInsert` runs all of its chunks in one transaction (Knex 3.3), so it fails with 54000, too.',
      async (db) => {
        await insertInChunks(ITEMS, (chunk) => db('item').insert(chunk))
        expect(await db('item').count()).toEqual([{ count: String(ITEMS.length) }])
      },
      { code: '54000', run: (db) => db.batchInsert('item', [...ITEMS], 1_000) },
    ),
    upsert: works(async (db) => {
      await db('item').insert({ id: 1, name: 'one' })
      await db('item').insert({ id: 1, name: 'two' }).onConflict('id').merge()
      await db('item').insert({ id: 1, name: 'three' }).onConflict('id').ignore()
      expect(await db('item')).toEqual([{ id: 1, name: 'two' }])
    }),
    pagination: works(async (db) => {
      await db('item').insert(ITEMS.slice(0, 25))
      const page = await db('item').orderBy('id').limit(10).offset(20).pluck<number[]>('id')
      expect(page).toEqual([20, 21, 22, 23, 24])
    }),
    JSON: works(async (db) => {
      await db('owner').insert({ name: 'George', profile: { city: 'Madison' } })
      const found = db('owner').whereJsonPath('profile', '$.city', '=', 'Madison')
      expect(await found.first('profile')).toEqual({ profile: { city: 'Madison' } })
      expect(await db('owner').jsonExtract('profile', '$.city', 'city')).toEqual([
        { city: 'Madison' },
      ])
    }),
    'UUID keys': works(async (db) => {
      const [{ id }] = await db('owner').insert({ name: 'George' }).returning('id')
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      expect(await db('owner').whereIn('id', [id]).pluck('name')).toEqual(['George'])
      expect(await db('owner').select({ made: db.fn.uuid() })).toHaveLength(1)
    }),
    timestamps: works(async (db) => {
      const [owner] = await db('owner').insert({ name: 'George' }).returning('*')
      await db('owner').update({ updated_at: db.fn.now() })
      const { updated_at: updated } = await db('owner').first()
      expect(owner.created_at).toBeInstanceOf(Date)
      expect(updated >= owner.created_at).toBe(true)
    }),
    'optimistic locking': works(async (db) => {
      await db('owner').insert({ name: 'George' })
      const change = () => db('owner').where({ version: 1 }).increment('version')
      expect([await change(), await change()]).toEqual([1, 0])
    }),
    'row locks': worksWith(
      '`forUpdate()` or `forKeyShare()`; `forShare()` and `forNoKeyUpdate()` fail with 0A000.',
      async (db) => {
        await db('item').insert({ id: 1, name: 'one' })
        await db.transaction(async (trx) => {
          expect(await trx('item').forUpdate()).toHaveLength(1)
          expect(await trx('item').forKeyShare()).toHaveLength(1)
          expect(await trx('item').forUpdate().skipLocked()).toHaveLength(1)
        })
      },
      { code: '0A000', run: (db) => db.transaction((trx) => trx('item').forShare()) },
    ),
    transactions: works(async (db) => {
      await db.transaction((trx) => trx('item').insert({ id: 1, name: 'one' }))
      const failure = new Error('changed my mind')
      const failed = db.transaction(async (trx) => {
        await trx('item').insert({ id: 2, name: 'two' })
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await db('item').pluck('id')).toEqual([1])
    }),
    'isolation level': works(async (db) => {
      const level = { isolationLevel: 'repeatable read' } as const
      await db.transaction((trx) => trx('item').insert({ id: 1, name: 'one' }), level)
      await knexTransaction(db, (trx) => trx('item').insert({ id: 2, name: 'two' }), level)
      const other = db.transaction((trx) => trx('item'), { isolationLevel: 'serializable' })
      await expect(other).rejects.toMatchObject({ code: '0A000' })
    }),
    'read-only transactions': works(async (db) => {
      await db.transaction((trx) => trx('item'), { readOnly: true })
      const failed = db.transaction((trx) => trx('item').insert({ id: 1, name: 'one' }), {
        readOnly: true,
      })
      await expect(failed).rejects.toMatchObject({ code: '25006' })
    }),
    'nested transactions': not(
      'a nested `trx.transaction()` is a savepoint. Use the outer `trx`.',
      '0A000',
      (db) => db.transaction((trx) => trx.transaction(async () => {})),
    ),
    introspection: works(async (db) => {
      expect(await db.schema.hasTable('owner')).toBe(true)
      expect(await db.schema.hasColumn('owner', 'profile')).toBe(true)
      expect(await db('owner').columnInfo()).toMatchObject({
        id: { type: 'uuid', nullable: false },
        profile: { type: 'jsonb', nullable: true },
      })
    }),
  },
}

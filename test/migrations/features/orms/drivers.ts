/** The features of pg and of Postgres.js, as far as they have functions for them. */
import type { Pool } from 'pg'
import type { Sql } from 'postgres'
import { createPool, pgTransaction } from '../../../../adapters/pg.js'
import { createSql, sqlTransaction } from '../../../../adapters/postgres-js.js'
import { insertInChunks } from '../../../../core/index.js'
import { ITEMS, not, type OrmFeatures, works, worksWith } from '../features.js'

const NONE = {
  relations: undefined,
  'eager loading': undefined,
  upsert: undefined,
  pagination: undefined,
  'optimistic locking': undefined,
  'row locks': undefined,
  introspection: undefined,
} as const

const INSERT = 'INSERT INTO item SELECT * FROM jsonb_to_recordset($1::jsonb) AS (id int, name text)'
const insertItems = (pool: Pool, rows: readonly object[]) =>
  pool.query(INSERT, [JSON.stringify(rows)])

export const pg: OrmFeatures<Pool> = {
  name: 'pg',
  open: (login) => createPool(login),
  close: (pool) => pool.end(),
  cells: {
    ...NONE,
    'first connection': works(async (_, { login }) => {
      const pool = createPool(login)
      await pool.query('SELECT 1')
      await pool.end()
    }),
    CRUD: works(async (pool) => {
      await pool.query('INSERT INTO item VALUES ($1, $2)', [1, 'one'])
      await pool.query('UPDATE item SET name = $1', ['two'])
      expect((await pool.query('SELECT * FROM item')).rows).toEqual([{ id: 1, name: 'two' }])
      expect((await pool.query('DELETE FROM item')).rowCount).toBe(1)
    }),
    'bulk insert': worksWith(
      '`insertInChunks(rows, (chunk) => pool.query(INSERT, [JSON.stringify(chunk)]))`, in which `INSERT` is such as `INSERT INTO item SELECT * FROM jsonb_to_recordset($1::jsonb) AS (id int, name text)`.',
      async (pool) => {
        await insertInChunks(ITEMS, (chunk) => insertItems(pool, chunk))
        const { rows } = await pool.query('SELECT count(*)::int AS count FROM item')
        expect(rows).toEqual([{ count: ITEMS.length }])
      },
      { code: '54000', run: (pool) => insertItems(pool, ITEMS) },
    ),
    JSON: works(async (pool) => {
      const profile = { city: 'Madison' }
      await pool.query('INSERT INTO owner (name, profile) VALUES ($1, $2)', ['George', profile])
      expect((await pool.query('SELECT profile FROM owner')).rows).toEqual([{ profile }])
    }),
    'UUID keys': works(async (pool) => {
      const insert = "INSERT INTO owner (name) VALUES ('George') RETURNING id"
      const [{ id } = { id: '' }] = (await pool.query<{ id: string }>(insert)).rows
      const found = await pool.query('SELECT name FROM owner WHERE id = ANY ($1)', [[id]])
      expect(found.rows).toEqual([{ name: 'George' }])
    }),
    timestamps: works(async (pool) => {
      const at = new Date('2026-09-01T10:00:00.123Z')
      await pool.query("INSERT INTO owner (name, created_at) VALUES ('George', $1)", [at])
      const { rows } = await pool.query('SELECT created_at FROM owner')
      expect(rows).toEqual([{ created_at: at }])
    }),
    transactions: works(async (pool) => {
      await pgTransaction(pool, (client) => client.query("INSERT INTO item VALUES (1, 'one')"))
      expect((await pool.query('SELECT id FROM item')).rows).toEqual([{ id: 1 }])
    }),
    'isolation level': works(async (pool) => {
      await pgTransaction(pool, (client) => client.query('SELECT 1'), {
        isolationLevel: 'repeatable read',
      })
      const other = pgTransaction(pool, async () => {}, { isolationLevel: 'serializable' })
      await expect(other).rejects.toMatchObject({ code: '0A000' })
    }),
    'read-only transactions': works(async (pool) => {
      const failed = pgTransaction(pool, (client) => client.query('DELETE FROM item'), {
        readOnly: true,
      })
      await expect(failed).rejects.toMatchObject({ code: '25006' })
    }),
    'nested transactions': not(
      '`SAVEPOINT`. Pass the client of the outer transaction on.',
      '0A000',
      (pool) => pgTransaction(pool, (client) => client.query('SAVEPOINT one')),
    ),
  },
}

export const postgresJs: OrmFeatures<Sql> = {
  name: 'Postgres.js',
  open: (login) => createSql(login),
  close: (sql) => sql.end(),
  cells: {
    ...NONE,
    'first connection': works(async (_, { login }) => {
      const sql = createSql(login)
      await sql`SELECT 1`
      await sql.end()
    }),
    CRUD: works(async (sql) => {
      await sql`INSERT INTO item ${sql({ id: 1, name: 'one' })}`
      await sql`UPDATE item SET ${sql({ name: 'two' })}`
      expect([...(await sql`SELECT * FROM item`)]).toEqual([{ id: 1, name: 'two' }])
      expect((await sql`DELETE FROM item`).count).toBe(1)
    }),
    'bulk insert': worksWith(
      '``insertInChunks(rows, (chunk) => sql`INSERT INTO item ${sql(chunk)}`)``.',
      async (sql) => {
        await insertInChunks(ITEMS, (chunk) => sql`INSERT INTO item ${sql(chunk)}`)
        expect([...(await sql`SELECT count(*)::int AS count FROM item`)]).toEqual([
          { count: ITEMS.length },
        ])
      },
      { code: '54000', run: async (sql) => sql`INSERT INTO item ${sql([...ITEMS])}` },
    ),
    JSON: works(async (sql) => {
      const profile = { city: 'Madison' }
      await sql`INSERT INTO owner ${sql({ name: 'George', profile: sql.json(profile) as never })}`
      expect([...(await sql`SELECT profile FROM owner`)]).toEqual([{ profile }])
    }),
    'UUID keys': works(async (sql) => {
      const [row] = await sql`INSERT INTO owner (name) VALUES ('George') RETURNING id`
      const found = await sql`SELECT name FROM owner WHERE id IN ${sql([row!['id']])}`
      expect([...found]).toEqual([{ name: 'George' }])
    }),
    timestamps: works(async (sql) => {
      const at = new Date('2026-09-01T10:00:00.123Z')
      await sql`INSERT INTO owner ${sql({ name: 'George', created_at: at })}`
      expect([...(await sql`SELECT created_at FROM owner`)]).toEqual([{ created_at: at }])
    }),
    transactions: works(async (sql) => {
      await sql.begin((own) => own`INSERT INTO item VALUES (1, 'one')`)
      const failure = new Error('changed my mind')
      const failed = sql.begin(async (own) => {
        await own`INSERT INTO item VALUES (2, 'two')`
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect([...(await sql`SELECT id FROM item`)]).toEqual([{ id: 1 }])
    }),
    'isolation level': works(async (sql) => {
      await sql.begin('isolation level repeatable read', (own) => own`SELECT 1`)
      await sqlTransaction(sql, (own) => own`SELECT 1`, {
        begin: 'isolation level repeatable read',
      })
      const other = sql.begin('isolation level serializable', (own) => own`SELECT 1`)
      await expect(other).rejects.toMatchObject({ code: '0A000' })
    }),
    'read-only transactions': works(async (sql) => {
      const failed = sql.begin('read only', (own) => own`DELETE FROM item`)
      await expect(failed).rejects.toMatchObject({ code: '25006' })
    }),
    'nested transactions': not(
      '`sql.savepoint()`. Use the `sql` of the outer transaction.',
      '0A000',
      (sql) => sql.begin((own) => own.savepoint((inner) => inner`SELECT 1`)),
    ),
  },
}

/** The libraries that applications use, each with its main features. */
import { drizzle } from 'drizzle-orm/node-postgres'
import { eq } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { knex } from 'knex'
import { DataTypes, Sequelize } from 'sequelize'
import { DataSource, EntitySchema } from 'typeorm'
import type { Gateway } from '../../../../gateway/index.js'
import { pgSettings, withPool, withPostgresJs } from './gateway-clients.js'

export function describeLibraries(gatewayOf: () => Gateway): void {
  it('serves Postgres.js: parameters, transactions, cursors, unprepared queries', async () => {
    const gateway = gatewayOf()
    await withPostgresJs(gateway, { max: 3 }, async (sql) => {
      await sql`create table pjs (id int primary key, v text)`
      await sql.begin(async (tx) => {
        await tx`insert into pjs ${tx([
          { id: 1, v: 'one' },
          { id: 2, v: 'two' },
        ])}`
        await expect(
          tx.savepoint((inner) => inner`insert into pjs values (1, 'again')`),
        ).rejects.toMatchObject({ code: '23505' })
      })
      const seen: unknown[] = []
      await sql`select i from generate_series(1, 25) i`.cursor(10, (rows) => {
        seen.push(rows.length)
      })
      expect(seen).toEqual([10, 10, 5])
      const many = Array.from({ length: 30 }, (_, n) => sql`select ${n}::int as n`)
      expect((await Promise.all(many)).map(([row]) => row?.['n'] as number)).toEqual(
        many.map((_, n) => n),
      )
      expect(await sql`select * from pjs order by id`).toHaveLength(2)
      await sql`drop table pjs`
    })
    await withPostgresJs(gateway, { max: 2, prepare: false }, async (sql) => {
      const many = Array.from({ length: 10 }, (_, n) => sql`select ${n}::int as n`)
      expect((await Promise.all(many)).map(([row]) => row?.['n'] as number)).toEqual(
        many.map((_, n) => n),
      )
    })
  })

  it('serves Sequelize: sync, create, find, transactions', async () => {
    const { host, port, user, database, password, ssl } = pgSettings(gatewayOf())
    const sequelize = new Sequelize({
      dialect: 'postgres',
      host: host!,
      port: port!,
      username: user!,
      database: database!,
      logging: false,
      pool: { max: 3 },
      dialectOptions: { ssl },
    })
    sequelize.addHook('beforeConnect', async (config) => {
      const { password: token } = { password: await (password as () => Promise<string>)() }
      Object.assign(config, { password: token })
    })
    const Item = sequelize.define(
      'item',
      { id: { type: DataTypes.INTEGER, primaryKey: true }, v: DataTypes.TEXT },
      { tableName: 'seq_items', timestamps: false },
    )
    await sequelize.sync()
    await sequelize.transaction(async (transaction) => {
      await Item.create({ id: 1, v: 'one' }, { transaction })
    })
    const failing = sequelize.transaction(async (transaction) => {
      await Item.create({ id: 2, v: 'two' }, { transaction })
      throw new Error('changed my mind')
    })
    await expect(failing).rejects.toThrow('changed my mind')
    expect((await Item.findAll()).map((item) => item.get())).toEqual([{ id: 1, v: 'one' }])
    await Item.drop()
    await sequelize.close()
  })

  it('serves TypeORM: synchronize, save, find, transactions', async () => {
    const { host, port, user, database, password, ssl } = pgSettings(gatewayOf())
    const Item = new EntitySchema<{ id: number; v: string }>({
      name: 'item',
      tableName: 'typeorm_items',
      columns: { id: { type: 'int', primary: true }, v: { type: 'text' } },
    })
    const source = new DataSource({
      type: 'postgres',
      host: host!,
      port: port!,
      username: user!,
      database: database!,
      password: password as () => Promise<string>,
      ssl: ssl as { ca: string },
      entities: [Item],
      synchronize: true,
      // It would create an extension, which only a superuser may do.
      installExtensions: false,
    })
    await source.initialize()
    await source.transaction(async (manager) => {
      await manager.save(Item, { id: 1, v: 'one' })
    })
    expect(await source.getRepository(Item).find()).toEqual([{ id: 1, v: 'one' }])
    await source.dropDatabase()
    await source.destroy()
  })

  it('serves Knex: schema, insert, select, transactions', async () => {
    const db = knex({
      client: 'pg',
      connection: pgSettings(gatewayOf()) as object,
      pool: { min: 0, max: 3 },
    })
    await db.schema.createTable('knex_items', (table) => {
      table.integer('id').primary()
      table.text('v')
    })
    await db.transaction((trx) => trx('knex_items').insert({ id: 1, v: 'one' }))
    expect(await db('knex_items').where({ id: 1 })).toEqual([{ id: 1, v: 'one' }])
    await db.schema.dropTable('knex_items')
    await db.destroy()
  })

  it('serves Drizzle: insert, select, transactions', () =>
    withPool(gatewayOf(), 3, async (pool) => {
      const items = pgTable('drizzle_items', { id: integer().primaryKey(), v: text() })
      const db = drizzle(pool)
      await db.execute('create table drizzle_items (id int primary key, v text)')
      await db.transaction(async (tx) => {
        await tx.insert(items).values({ id: 1, v: 'one' })
      })
      expect(await db.select().from(items).where(eq(items.id, 1))).toEqual([{ id: 1, v: 'one' }])
      await db.execute('drop table drizzle_items')
    }))
}

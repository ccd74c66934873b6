import knex from 'knex'
import { Sequelize } from 'sequelize'
import { DataSource } from 'typeorm'
import { knexConfig } from '../../../../adapters/knex.js'
import { createPool, pgTransaction } from '../../../../adapters/pg.js'
import { createSql } from '../../../../adapters/postgres-js.js'
import { sequelizeOptions } from '../../../../adapters/sequelize.js'
import { typeormOptions } from '../../../../adapters/typeorm.js'
import { type Gateway, startGateway } from '../../../../gateway/index.js'

/** The error for an application that does not use the transaction's own connection, which PGlite cannot serve. */
describe('an application that runs a query on the pool during a transaction on PGlite', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({
      sql: 'postgres',
      engine: 'pglite',
      idleInTransactionTimeoutMs: 500,
    })
  })
  afterAll(() => gateway?.close())

  /** The query is served after the transaction was rolled back, whose next statement gets the error. */
  const expectReason = async (work: Promise<unknown>): Promise<void> => {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    const causes = [error]
    for (
      let at = error;
      (at =
        (at as { cause?: unknown; parent?: unknown })?.cause ??
        (at as { parent?: unknown })?.parent) !== undefined;
    )
      causes.push(at)
    expect(causes).toContainEqual(
      expect.objectContaining({
        code: '25P03',
        message: expect.stringContaining('"idleInTransactionTimeoutMs" (500 ms)') as string,
        hint: expect.stringContaining('Use the engine "postgres"') as string,
      }),
    )
  }

  it('gets the error about one transaction at a time with pg', async () => {
    const pool = createPool(gateway.login())
    const work = pgTransaction(pool, async (client) => {
      await client.query('select 1')
      await pool.query('select 2')
      await client.query('select 3')
    })
    await expectReason(work)
    const committed = pgTransaction(pool, async (client) => {
      await client.query('select 1')
      await pool.query('select 2')
    })
    await expectReason(committed)
    await pool.end()
  })

  it('gets the error about one transaction at a time with Postgres.js', async () => {
    const sql = createSql(gateway.login())
    const work = sql.begin(async (tx) => {
      await tx`select 1`
      await sql`select 2`
      await tx`select 3`
    })
    await expectReason(work)
    await sql.end()
  })

  it('gets the error about one transaction at a time with Sequelize', async () => {
    const sequelize = new Sequelize(sequelizeOptions(gateway.login(), { logging: false }))
    const work = sequelize.transaction(async (transaction) => {
      await sequelize.query('select 1', { transaction })
      await sequelize.query('select 2')
      await sequelize.query('select 3', { transaction })
    })
    await expectReason(work)
    await sequelize.close()
  })

  it('gets the error about one transaction at a time with Knex', async () => {
    const db = knex(knexConfig(gateway.login()))
    const work = db.transaction(async (trx) => {
      await trx.raw('select 1')
      await db.raw('select 2')
      await trx.raw('select 3')
    })
    await expectReason(work)
    await db.destroy()
  })

  it('gets the error about one transaction at a time with TypeORM', async () => {
    const source = await new DataSource(typeormOptions(gateway.login())).initialize()
    const work = source.transaction(async (manager) => {
      await manager.query('select 1')
      await source.query('select 2')
      await manager.query('select 3')
    })
    await expectReason(work)
    await source.destroy()
  })
})

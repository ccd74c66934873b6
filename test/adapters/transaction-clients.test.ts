/** What the transaction functions say of a first argument that they cannot use. */
import { DataSource } from 'typeorm'
import { Client } from 'pg'
import { drizzleTransaction } from '../../adapters/drizzle.js'
import { drizzleTransaction as drizzleTransactionOfPostgresJs } from '../../adapters/drizzle-postgres-js.js'
import { knexTransaction } from '../../adapters/knex.js'
import { pgTransaction } from '../../adapters/pg.js'
import { createSql, sqlTransaction } from '../../adapters/postgres-js.js'
import { sequelizeTransaction } from '../../adapters/sequelize.js'
import { typeormTransaction } from '../../adapters/typeorm.js'
import { auroraDsql } from '../../core/index.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'

type AnyTransaction = (client: unknown, fn: unknown) => Promise<unknown>

const FUNCTIONS = Object.entries({
  pgTransaction,
  sqlTransaction,
  knexTransaction,
  sequelizeTransaction,
  typeormTransaction,
  drizzleTransaction,
  drizzleTransactionOfPostgresJs,
}) as unknown as [string, AnyTransaction][]

describe('a first argument that is not the client', () => {
  it.each(FUNCTIONS)('is refused by name: %s', async (_name, transaction) => {
    for (const client of [undefined, null, {}, 'postgres://app@db.example.com/app', () => {}]) {
      expect(await rejectionOf(transaction(client, async () => {}))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(
          /^"(pool|sql|knex|sequelize|dataSource|db)" must be .+, got /,
        ),
      })
    }
  })

  it('is refused where it is a single client of pg, which a pool is needed for', async () => {
    expect(await rejectionOf(pgTransaction(new Client() as never, async () => {}))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })

  it('is refused as nested where it is the transaction of Postgres.js', async () => {
    const transaction = Object.assign(() => {}, { savepoint: () => {}, unsafe: () => {} })
    expect(await rejectionOf(sqlTransaction(transaction as never, async () => {}))).toMatchObject({
      code: 'ERR_TRANSACTION_NESTED',
    })
  })
})

describe('a second argument that is not a function', () => {
  it('is refused by name', async () => {
    const login = auroraDsql({ host: `${'a'.repeat(26)}.dsql.us-east-1.on.aws`, user: 'app' })
    const dataSource = new DataSource({ type: 'postgres' })
    for (const run of [
      sqlTransaction(createSql(login), undefined as never),
      typeormTransaction(dataSource, 'SELECT 1' as never),
    ])
      expect(await rejectionOf(run)).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringContaining('"fn" must be a function'),
      })
  })
})

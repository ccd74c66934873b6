/** The errors of the transaction functions for an invalid first or second argument. */
import { DataSource } from 'typeorm'
import { Client } from 'pg'
import { drizzleTransaction } from '../../adapters/drizzle.js'
import { drizzleTransaction as drizzleTransactionOfPostgresJs } from '../../adapters/drizzle-postgres-js.js'
import { knexTransaction } from '../../adapters/knex.js'
import { kyselyTransaction } from '../../adapters/kysely.js'
import { mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import { pgTransaction } from '../../adapters/pg.js'
import { createSql, sqlTransaction } from '../../adapters/postgres-js.js'
import { prismaTransaction } from '../../adapters/prisma.js'
import { sequelizeTransaction as sequelizeTransactionOf7 } from '../../adapters/sequelize-7.js'
import { sequelizeTransaction } from '../../adapters/sequelize.js'
import { typeormTransaction } from '../../adapters/typeorm.js'
import { auroraDsql } from '../../core/index.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'

type AnyTransaction = (client: unknown, fn: unknown) => Promise<unknown>

const FUNCTIONS = Object.entries({
  pgTransaction,
  sqlTransaction,
  knexTransaction,
  kyselyTransaction,
  mikroOrmTransaction,
  sequelizeTransaction,
  sequelizeTransactionOf7,
  prismaTransaction,
  typeormTransaction,
  drizzleTransaction,
  drizzleTransactionOfPostgresJs,
}) as unknown as [string, AnyTransaction][]

/** What a promise has, and a transaction of Postgres.js. */
const ABSENT = new Set<string | symbol>(['then', 'savepoint'])

describe('a misspelt retry option', () => {
  // What the function checks of its first argument, so that the options are reached.
  const client = new Proxy(
    {},
    {
      get: (_, name) => (ABSENT.has(name) ? undefined : () => undefined),
      has: (_, name) => !ABSENT.has(name),
    },
  )

  it.each(FUNCTIONS)('is rejected by %s', async (_name, transaction) => {
    const call = transaction as (...args: unknown[]) => Promise<unknown>
    const error = await rejectionOf(call(client, async () => {}, { maxAttempt: 5 }))
    expect(error).toMatchObject({ code: 'ERR_OPTION_INVALID' })
  })
})

describe('a first argument that is not the expected client', () => {
  it.each(FUNCTIONS)('is rejected with an error that names it: %s', async (_name, transaction) => {
    for (const client of [undefined, null, {}, 'postgres://app@db.example.com/app', () => {}]) {
      expect(await rejectionOf(transaction(client, async () => {}))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(
          /^"(pool|sql|knex|sequelize|prisma|dataSource|db|em)" must be .+, got /,
        ),
      })
    }
  })

  it('is rejected if it is a single client of pg instead of a pool', async () => {
    expect(await rejectionOf(pgTransaction(new Client() as never, async () => {}))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })

  it('is rejected as nested if it is a transaction of Postgres.js', async () => {
    const transaction = Object.assign(() => {}, { savepoint: () => {}, unsafe: () => {} })
    expect(await rejectionOf(sqlTransaction(transaction as never, async () => {}))).toMatchObject({
      code: 'ERR_TRANSACTION_NESTED',
    })
  })
})

describe('a second argument that is not a function', () => {
  it('is rejected with an error that names it', async () => {
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

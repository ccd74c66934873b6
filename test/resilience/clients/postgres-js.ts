/** Opens Postgres.js for the resilience tests. */
import postgres, { type ISql, type Options, type Sql, type TransactionSql } from 'postgres'
import { createSql, postgresOptions, sqlTransaction } from '../../../adapters/postgres-js.js'
import type {
  HeldConnection,
  OpenClient,
  ResilientClient,
  Statements,
  TransactionStatements,
} from './resilient-client.js'

export const client: ResilientClient = {
  name: 'postgres-js',
  entries: [
    {
      name: 'createSql',
      open: (login, { poolSize }) => openSql(createSql(login, sqlOptions(poolSize))),
      own: 'protected',
      retiresIdle: true,
      takesAgedBack: true,
      reopensEarly: true,
    },
    {
      name: 'postgresOptions',
      open: (login, { poolSize }) =>
        openSql(postgres(postgresOptions(login, sqlOptions(poolSize)))),
      own: 'none',
      retiresIdle: true,
      takesAgedBack: false,
      reopensEarly: true,
    },
  ],
}

export function sqlOptions(poolSize: number): Options<{}> {
  return { max: poolSize, onnotice: () => {} }
}

function openSql(sql: Sql): OpenClient {
  return {
    ...statementsOn(sql),
    transaction: (work, { isolation, ...retry } = {}) =>
      sqlTransaction(sql, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { begin: `isolation level ${isolation}` }),
        ...retry,
      }),
    ownTransaction: async <T>(work: (statements: TransactionStatements) => Promise<T>) =>
      (await sql.begin((transaction) => work(inTransaction(transaction)))) as T,
    hold: () => reserve(sql),
    close: () => sql.end({ timeout: 1 }),
  }
}

export async function reserve(sql: Sql): Promise<HeldConnection> {
  const reserved = await sql.reserve()
  return { run: statementsOn(reserved).run, release: async () => reserved.release() }
}

function inTransaction(transaction: TransactionSql): TransactionStatements {
  return {
    ...statementsOn(transaction),
    own: transaction,
    nested: async <T>(work: (statements: Statements) => Promise<T>) =>
      (await transaction.savepoint((inner) => work(statementsOn(inner)))) as T,
  }
}

function statementsOn(sql: ISql): Statements {
  return {
    run: async (text) => [...(await sql.unsafe<Record<string, unknown>[]>(text))],
    insert: async (id) => {
      await sql`INSERT INTO note VALUES (${id})`
    },
  }
}

/** Knex for the tests. */
import knex, { type Knex } from 'knex'
import type { ClientBase } from 'pg'
import { knexConfig, knexConnection, knexTransaction } from '../../adapters/knex.js'
import type {
  Client,
  ClientEntry,
  OpenClient,
  OpenSettings,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'

const connectionRefusals: Refusal[] = [
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a password function',
    options: { password: () => 'secret' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a connection string',
    options: { connectionString: 'postgres://app@db.example.com/shop' },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another host', options: { host: 'db.example.com' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { user: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another database', options: { database: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a socket of its own',
    options: { stream: () => undefined },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'ssl: false', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'rejectUnauthorized: false',
    options: { ssl: { rejectUnauthorized: false } },
    code: 'ERR_TLS_UNVERIFIED',
  },
]

const behaviour = {
  own: 'survives',
  retiresIdle: false,
  takesAgedBack: true,
  reopensEarly: false,
} as const

const configEntry: ClientEntry<Knex.Config> = {
  ...behaviour,
  name: 'knexConfig',
  options: (settings) => ({
    ...knexOptions(settings),
    connection: { application_name: 'contract' },
  }),
  open: (login, options) => openKnex(knex(knexConfig(login, options))),
  refusesAt: 'construction',
  refusals: [
    ...connectionRefusals.map((refusal) => ({
      ...refusal,
      options: { connection: refusal.options },
    })),
    {
      what: 'a URL as connection',
      options: { connection: 'postgres://app@db.example.com/shop' },
      code: 'ERR_OPTION_CONFLICT',
    },
    {
      what: 'a connection function',
      options: { connection: () => ({}) },
      code: 'ERR_OPTION_CONFLICT',
    },
    { what: 'another client', options: { client: 'mysql2' }, code: 'ERR_OPTION_CONFLICT' },
    { what: 'a pool of pg', options: { connectionPool: {} }, code: 'ERR_OPTION_CONFLICT' },
  ],
}

/** This entry has Knex's own options, with those of `knexConnection` under `connection`. */
const connectionEntry: ClientEntry<Knex.Config & { connection?: Knex.PgConnectionConfig }> = {
  ...behaviour,
  name: 'knexConnection',
  options: (settings) => ({
    ...knexOptions(settings),
    version: '16.0',
    connection: { application_name: 'contract' },
  }),
  open: (login, { connection, ...options }) =>
    openKnex(knex({ ...options, client: 'pg', connection: knexConnection(login, connection) })),
  refusesAt: 'construction',
  refusals: connectionRefusals.map((refusal) => ({
    ...refusal,
    options: { connection: refusal.options },
  })),
}

export const client: Client = { name: 'knex', entries: [configEntry, connectionEntry] }

function knexOptions({ poolSize, log }: OpenSettings): Omit<Knex.Config, 'connection'> {
  const logged = (message: unknown): void =>
    log(typeof message === 'string' ? message : JSON.stringify(message))
  return {
    // The pause between Knex's connection attempts. The default of 200 ms would slow down the tests.
    pool: { min: 0, max: poolSize, createRetryIntervalMillis: 5 },
    debug: true,
    asyncStackTraces: true,
    log: { warn: logged, error: logged, debug: logged, deprecate: logged, inspectionDepth: 12 },
  }
}

export function openKnex(db: Knex): OpenClient {
  return {
    ...statementsOn(db),
    transaction: (work, { isolation, ...retry } = {}) =>
      knexTransaction(db, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    ownTransaction: (work) => db.transaction((transaction) => work(inTransaction(transaction))),
    transactionWithin: (own, work) => knexTransaction(own as Knex.Transaction, work),
    hold: async () => {
      const { client: pooled } = db as { client: Knex.Client }
      const connection = (await pooled.acquireConnection()) as ClientBase
      return {
        run: async (text) => (await connection.query<Record<string, unknown>>(text)).rows,
        release: async () => void pooled.releaseConnection(connection),
      }
    },
    close: () => db.destroy(),
    objects: [db, db.client, (db.client as { config: unknown }).config],
  }
}

function inTransaction(transaction: Knex.Transaction): TransactionStatements {
  return {
    ...statementsOn(transaction),
    own: transaction,
    nested: (work) => transaction.transaction((inner) => work(statementsOn(inner))),
  }
}

function statementsOn(db: Knex): Statements {
  return {
    run: async (text) => (await db.raw<{ rows: Record<string, unknown>[] }>(text)).rows,
    addNote: async (id, body) => {
      await db('note').insert({ id, body })
    },
    findNote: async (id) => {
      const note = await db<{ id: number; body: string }>('note').where({ id }).first('body')
      return note?.body
    },
  }
}

/** Kysely for the tests. */
import { inspect } from 'node:util'
import { Kysely, sql, type Transaction } from 'kysely'
import {
  kyselyDialect,
  type KyselyDialectConfig,
  kyselyTransaction,
} from '../../adapters/kysely.js'
import { createDeferred } from '../support/deferred.js'
import type {
  Client,
  ClientEntry,
  HeldConnection,
  OpenClient,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'
import { pgRefusals, poolOptions } from './pg.js'

/** The dialect's options, and Kysely's own, which has its log. */
type Config = KyselyDialectConfig & { readonly ownLog?: (line: string) => void }

const entry: ClientEntry<Config> = {
  name: 'kyselyDialect',
  options: (settings) => ({ pool: poolOptions(settings), ownLog: settings.log }),
  open: (login, { ownLog, ...config }) =>
    openKysely(
      new Kysely({
        dialect: kyselyDialect(login, config),
        ...(ownLog === undefined ? {} : { log: (event) => ownLog(inspect(event, { depth: 12 })) }),
      }),
    ),
  refusesAt: 'construction',
  refusals: [
    ...pgRefusals.map((refusal): Refusal => ({ ...refusal, options: { pool: refusal.options } })),
    {
      what: 'a pool of the application',
      options: { pool: { connect: () => undefined, end: () => undefined } },
      code: 'ERR_OPTION_INVALID',
    },
    { what: 'a function for the pool', options: { pool: () => ({}) }, code: 'ERR_OPTION_INVALID' },
    { what: 'an option of the pool beside it', options: { max: 5 }, code: 'ERR_OPTION_INVALID' },
    {
      what: 'a password beside the pool',
      options: { password: 'secret' },
      code: 'ERR_OPTION_INVALID',
    },
  ],
  own: 'protected',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: false,
}

export const client: Client = { name: 'kysely', entries: [entry] }

interface Database {
  note: { id: number; body: string | null }
}

export function openKysely(db: Kysely<Database>): OpenClient {
  return {
    ...statementsOn(db),
    transaction: (work, { isolation, ...retry } = {}) =>
      kyselyTransaction(db, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    ownTransaction: (work) =>
      db.transaction().execute((transaction) => work(inTransaction(transaction))),
    transactionWithin: (own, work) => kyselyTransaction(own as Kysely<Database>, work),
    hold: () => holdConnection(db),
    close: () => db.destroy(),
    objects: [db, db.introspection],
  }
}

function inTransaction(transaction: Transaction<Database>): TransactionStatements {
  return { ...statementsOn(transaction), own: transaction }
}

/** Kysely lends a connection to a function, until that settles. */
async function holdConnection(db: Kysely<Database>): Promise<HeldConnection> {
  const held = createDeferred<Kysely<Database>>()
  const released = createDeferred<void>()
  const end = db.connection().execute(async (lent) => {
    held.resolve(lent)
    await released.promise
  })
  // It only ends before it is released if it could not be acquired.
  const { run } = statementsOn(await Promise.race([held.promise, end as Promise<never>]))
  return {
    run,
    release: async () => {
      released.resolve()
      await end
    },
  }
}

function statementsOn(db: Kysely<Database>): Statements {
  return {
    run: async (text) => (await sql.raw<Record<string, unknown>>(text).execute(db)).rows,
    addNote: async (id, body) => {
      const note = { id, body: body ?? null }
      await db.insertInto('note').values(note).execute()
    },
    findNote: async (id) => {
      const query = db.selectFrom('note').select('body').where('id', '=', id)
      return (await query.executeTakeFirst())?.body ?? undefined
    },
  }
}

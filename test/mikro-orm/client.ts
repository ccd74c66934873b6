/** MikroORM for the tests. */
import {
  EntitySchema,
  MikroORM,
  type PostgreSqlDriver,
  type SqlEntityManager,
} from '@mikro-orm/postgresql'
import { mikroOrmOptions, mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import type {
  Client,
  ClientEntry,
  OpenClient,
  Refusal,
  Statements,
  TransactionStatements,
} from '../clients/client.js'
import { pgRefusals } from '../clients/pg.js'

export type Manager = SqlEntityManager<PostgreSqlDriver>

export class Note {
  id!: number
  body?: string | null
}

export const noteSchema = new EntitySchema<Note>({
  class: Note,
  tableName: 'note',
  properties: {
    id: { type: 'integer', primary: true },
    body: { type: 'text', nullable: true },
  },
})

const refusals: Refusal[] = [
  ...pgRefusals.map((refusal): Refusal => ({
    ...refusal,
    what: `${refusal.what} in driverOptions`,
    options: { driverOptions: refusal.options },
  })),
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a password function',
    options: { password: () => 'secret' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a URL',
    options: { clientUrl: 'postgres://app@db.example.com/shop' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'another host',
    options: { host: 'db.example.com' },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another port', options: { port: 6543 }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { user: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another dbName', options: { dbName: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a replica by its address',
    options: { replicas: [{ host: 'db.example.com' }] },
    code: 'ERR_OPTION_INVALID',
  },
  {
    what: 'a driverOptions function',
    options: { driverOptions: () => ({}) },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a dialect of Kysely',
    options: { driverOptions: { createDriver: () => undefined } },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'the driverOptions of MikroORM 6',
    options: { driverOptions: { connection: { ssl: { rejectUnauthorized: false } } } },
    code: 'ERR_OPTION_CONFLICT',
  },
]

const entry: ClientEntry = {
  name: 'mikroOrmOptions',
  options: ({ poolSize, log }) => ({
    entities: [noteSchema],
    pool: { min: 0, max: poolSize },
    driverOptions: { application_name: 'contract' },
    debug: true,
    logger: log,
  }),
  open: (login, options) => openMikroOrm(new MikroORM(mikroOrmOptions(login, options))),
  refusesAt: 'construction',
  refusals,
  own: 'protected',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: false,
}

export const client: Client = { name: 'mikro-orm', entries: [entry] }

function openMikroOrm(orm: MikroORM): OpenClient {
  const manager = (): Manager => orm.em.fork() as Manager
  return {
    ...statementsOn(manager),
    transaction: (work, { isolation, ...retry } = {}) =>
      mikroOrmTransaction(orm.em as Manager, (em) => work(inTransaction(em)), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    ownTransaction: (work) => manager().transactional((em) => work(inTransaction(em))),
    transactionWithin: (own, work) => mikroOrmTransaction(own as Manager, work),
    hold: async () => {
      const pool = await manager().getConnection().getNativeClient()
      const lent = await pool.connect()
      return {
        run: async (text) => (await lent.query<Record<string, unknown>>(text)).rows,
        release: async () => lent.release(),
      }
    },
    close: () => orm.close(true),
    objects: [orm, orm.config, orm.em, orm.em.getConnection()],
  }
}

function inTransaction(em: Manager): TransactionStatements {
  return {
    ...statementsOn(() => em),
    own: em,
    nested: (work) => em.transactional((inner) => work(statementsOn(() => inner))),
  }
}

function statementsOn(manager: () => Manager): Statements {
  return {
    run: async (text) => manager().execute<Record<string, unknown>[]>(text),
    addNote: async (id, body) => {
      await manager().insert(Note, { id, body: body ?? null })
    },
    findNote: async (id) => {
      const found = await manager().findOne(Note, { id }, { disableIdentityMap: true })
      return found?.body ?? undefined
    },
  }
}

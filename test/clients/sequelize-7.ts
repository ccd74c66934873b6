/** Sequelize 7 for the tests. */
import {
  DataTypes,
  IsolationLevel,
  type Model,
  type ModelStatic,
  Sequelize,
  type Transaction,
  TransactionNestMode,
} from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import type { ClientBase } from 'pg'
import {
  sequelizeHook,
  sequelizeOptions,
  type SequelizePostgresOptions,
  sequelizeTransaction,
} from '../../adapters/sequelize-7.js'
import type {
  Client,
  ClientEntry,
  Isolation,
  OpenClient,
  OpenSettings,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'

type Settings = Omit<SequelizePostgresOptions, 'dialect'>

const connectionRefusals: Refusal[] = [
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a password function',
    options: { password: () => 'secret' },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another host', options: { host: 'db.example.com' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another port', options: { port: 6543 }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { user: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another database', options: { database: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'a socket', options: { stream: () => undefined }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'ssl: false', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'rejectUnauthorized: false',
    options: { ssl: { require: true, rejectUnauthorized: false } },
    code: 'ERR_TLS_UNVERIFIED',
  },
  {
    what: 'the addresses of a replication set',
    options: {
      replication: { read: [{ host: 'a.example' }], write: { host: 'b.example' } },
    },
    code: 'ERR_OPTION_CONFLICT',
  },
]

const optionRefusals: Refusal[] = [
  {
    what: 'a URL',
    options: { url: 'postgres://app:secret@db.example.com/shop' },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another dialect', options: { dialect: 'mysql' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'the native driver', options: { native: true }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'an option of Sequelize 6', options: { username: 'app' }, code: 'ERR_OPTION_INVALID' },
]

const behaviour = {
  own: 'survives',
  retiresIdle: false,
  takesAgedBack: true,
  reopensEarly: false,
} as const

const optionsEntry: ClientEntry<Settings> = {
  ...behaviour,
  name: 'sequelizeOptions',
  options: sequelizeSettings,
  open: (login, options) => openSequelize(new Sequelize(sequelizeOptions(login, options))),
  refusesAt: 'construction',
  refusals: [...connectionRefusals, ...optionRefusals],
}

const hookEntry: ClientEntry<Settings> = {
  ...behaviour,
  name: 'sequelizeHook',
  options: sequelizeSettings,
  open: (login, options) => {
    const hook = sequelizeHook(login)
    const hooks = { beforeConnect: hook, afterConnect: hook }
    return openSequelize(new Sequelize({ ...options, dialect: PostgresDialect, hooks }))
  },
  refusesAt: 'connection',
  refusals: connectionRefusals,
}

export const client: Client = { name: 'sequelize-7', entries: [optionsEntry, hookEntry] }

function sequelizeSettings({ poolSize, log }: OpenSettings): Settings {
  return {
    // Sequelize empties an idle pool after 10 seconds, which would hide our own behaviour.
    pool: { max: poolSize, idle: 600_000 },
    logging: (line, timing) => log(`${line} ${String(timing)}`),
    logQueryParameters: true,
    application_name: 'contract',
  }
}

type Note = ModelStatic<Model<{ id: number; body?: string }>>

export function openSequelize(sequelize: Sequelize<PostgresDialect>): OpenClient {
  const Note: Note = sequelize.define(
    'note',
    { id: { type: DataTypes.INTEGER, primaryKey: true }, body: DataTypes.TEXT },
    { tableName: 'note', timestamps: false },
  )
  return {
    ...statementsOn(sequelize, Note),
    transaction: (work, { isolation, ...retry } = {}) =>
      sequelizeTransaction(
        sequelize,
        (transaction) => work(inTransaction(sequelize, Note, transaction)),
        {
          ...(isolation === undefined ? {} : { isolationLevel: LEVELS[isolation] }),
          ...retry,
        },
      ),
    ownTransaction: (work) =>
      sequelize.transaction((transaction) => work(inTransaction(sequelize, Note, transaction))),
    transactionWithin: (own, work) =>
      sequelizeTransaction(sequelize, work, { transaction: own as Transaction }),
    hold: async () => {
      const { pool } = sequelize
      const connection = await pool.acquire({ type: 'write' })
      return {
        run: async (text) =>
          (await (connection as unknown as ClientBase).query<Record<string, unknown>>(text)).rows,
        release: async () => pool.release(connection),
      }
    },
    close: async () => {
      // Sequelize (7.0.0-alpha.48) does not wait for connections that are being opened or in use.
      await sequelize.pool.drain()
      await sequelize.close()
    },
    objects: [sequelize, sequelize.options, sequelize.rawOptions, sequelize.pool],
  }
}

const LEVELS: Record<Isolation, IsolationLevel> = {
  'repeatable read': IsolationLevel.REPEATABLE_READ,
  serializable: IsolationLevel.SERIALIZABLE,
}

function inTransaction(
  sequelize: Sequelize,
  Note: Note,
  transaction: Transaction,
): TransactionStatements {
  return {
    ...statementsOn(sequelize, Note, transaction),
    own: transaction,
    nested: (work) =>
      sequelize.transaction({ transaction, nestMode: TransactionNestMode.savepoint }, (inner) =>
        work(statementsOn(sequelize, Note, inner)),
      ),
  }
}

/** Without a transaction also inside one: Sequelize 7 would use that of the current context. */
function statementsOn(
  sequelize: Sequelize,
  Note: Note,
  transaction: Transaction | null = null,
): Statements {
  return {
    run: async (text) => {
      const [rows] = await sequelize.query(text, { transaction })
      return rows as Record<string, unknown>[]
    },
    addNote: async (id, body) => {
      await Note.create({ id, ...(body === undefined ? {} : { body }) }, { transaction })
    },
    findNote: async (id) =>
      (await Note.findByPk(id, { transaction }))?.get('body') as string | undefined,
  }
}

/** Sequelize 6 for the tests. */
import type { ClientBase } from 'pg'
import {
  DataTypes,
  type Model,
  type ModelStatic,
  type Options,
  Sequelize,
  Transaction,
} from 'sequelize'
import { sequelizeHook, sequelizeOptions, sequelizeTransaction } from '../../adapters/sequelize.js'
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

const optionRefusals: Refusal[] = [
  { what: 'another host', options: { host: 'db.example.com' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another port', options: { port: 6543 }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { username: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another database', options: { database: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'a top-level ssl: false', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'a socket of its own',
    options: { dialectOptions: { stream: () => undefined } },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'replication',
    options: { replication: { read: [{ host: 'a.example' }], write: { host: 'b.example' } } },
    code: 'ERR_OPTION_CONFLICT',
  },
]

const connectionRefusals: Refusal[] = [
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'ssl: false', options: { dialectOptions: { ssl: false } }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'rejectUnauthorized: false',
    options: { dialectOptions: { ssl: { require: true, rejectUnauthorized: false } } },
    code: 'ERR_TLS_UNVERIFIED',
  },
]

/** An option that the hook cannot set: without a version Sequelize opens an additional connection. Missing in its types. */
const KNOWN_VERSION: object = { databaseVersion: '16.0.0' }

const behaviour = {
  own: 'survives',
  retiresIdle: false,
  takesAgedBack: true,
  reopensEarly: false,
} as const

const optionsEntry: ClientEntry<Options> = {
  ...behaviour,
  name: 'sequelizeOptions',
  options: sequelizeSettings,
  open: (login, options) => openSequelize(new Sequelize(sequelizeOptions(login, options))),
  refusesAt: 'construction',
  refusals: [...connectionRefusals, ...optionRefusals],
}

const hookEntry: ClientEntry<Options> = {
  ...behaviour,
  name: 'sequelizeHook',
  options: (settings) => ({ ...sequelizeSettings(settings), ...KNOWN_VERSION }),
  open: (login, options) => {
    const hooks = { beforeConnect: sequelizeHook(login) }
    return openSequelize(new Sequelize({ ...options, dialect: 'postgres', hooks }))
  },
  refusesAt: 'connection',
  refusals: connectionRefusals,
}

export const client: Client = { name: 'sequelize', entries: [optionsEntry, hookEntry] }

function sequelizeSettings({ poolSize, log }: OpenSettings): Options {
  return {
    // Sequelize empties an idle pool after 10 seconds, which would hide our own behaviour.
    pool: { max: poolSize, idle: 600_000 },
    logging: (line, timing) => log(`${line} ${String(timing)}`),
    logQueryParameters: true,
    dialectOptions: { application_name: 'contract' },
  }
}

type Note = ModelStatic<Model<{ id: number; body?: string }>>

export function openSequelize(sequelize: Sequelize): OpenClient {
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
      const { connectionManager } = sequelize
      const connection = await connectionManager.getConnection({ type: 'write' })
      return {
        run: async (text) =>
          (await (connection as ClientBase).query<Record<string, unknown>>(text)).rows,
        release: async () => connectionManager.releaseConnection(connection),
      }
    },
    close: () => sequelize.close(),
    objects: [
      sequelize,
      sequelize.config,
      Reflect.get(sequelize, 'options'),
      sequelize.connectionManager,
    ],
  }
}

const LEVELS: Record<Isolation, Transaction.ISOLATION_LEVELS> = {
  'repeatable read': Transaction.ISOLATION_LEVELS.REPEATABLE_READ,
  serializable: Transaction.ISOLATION_LEVELS.SERIALIZABLE,
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
      sequelize.transaction({ transaction }, (inner) => work(statementsOn(sequelize, Note, inner))),
  }
}

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

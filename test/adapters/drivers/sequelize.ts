/** Runs Sequelize 6 in the contract tests. */
import {
  DataTypes,
  type Model,
  type ModelStatic,
  type Options,
  Sequelize,
  type Transaction,
} from 'sequelize'
import { sequelizeHook, sequelizeOptions } from '../../../adapters/sequelize.js'
import type {
  AdapterDriver,
  AdapterVariant,
  Database,
  DriverSettings,
  Refusal,
  Statements,
} from '../../support/adapter-contract/adapter-driver.js'

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

const optionsVariant: AdapterVariant<Options> = {
  name: 'sequelizeOptions',
  options: sequelizeSettings,
  open: (login, options) => sequelizeDatabase(new Sequelize(sequelizeOptions(login, options))),
  refusesAt: 'construction',
  refusals: [...connectionRefusals, ...optionRefusals],
}

/** An option that the hook cannot set: without a version Sequelize opens an additional connection. Missing in its types. */
const KNOWN_VERSION: object = { databaseVersion: '16.0.0' }

const hookVariant: AdapterVariant<Options> = {
  name: 'sequelizeHook',
  options: (settings) => ({ ...sequelizeSettings(settings), ...KNOWN_VERSION }),
  open: (login, options) => {
    const hooks = { beforeConnect: sequelizeHook(login) }
    return sequelizeDatabase(new Sequelize({ ...options, dialect: 'postgres', hooks }))
  },
  refusesAt: 'connection',
  refusals: connectionRefusals,
}

export const sequelizeDriver: AdapterDriver = {
  client: 'sequelize',
  variants: [optionsVariant, hookVariant],
}

function sequelizeSettings({ poolSize, log }: DriverSettings): Options {
  return {
    pool: { max: poolSize },
    logging: (line, timing) => log(`${line} ${String(timing)}`),
    logQueryParameters: true,
    dialectOptions: { application_name: 'contract' },
  }
}

type Note = ModelStatic<Model<{ id: number; body: string }>>

function sequelizeDatabase(sequelize: Sequelize): Database {
  const Note: Note = sequelize.define(
    'note',
    { id: { type: DataTypes.INTEGER, primaryKey: true }, body: DataTypes.TEXT },
    { tableName: 'note', timestamps: false },
  )
  return {
    ...statementsOn(sequelize, Note),
    transaction: (work) =>
      sequelize.transaction((transaction) => work(statementsOn(sequelize, Note, transaction))),
    close: () => sequelize.close(),
    objects: [
      sequelize,
      sequelize.config,
      Reflect.get(sequelize, 'options'),
      sequelize.connectionManager,
    ],
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
      await Note.create({ id, body }, { transaction })
    },
    findNote: async (id) =>
      (await Note.findByPk(id, { transaction }))?.get('body') as string | undefined,
  }
}

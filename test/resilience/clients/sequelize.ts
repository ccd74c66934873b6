/** Opens Sequelize 6 for the resilience tests. */
import type { ClientBase } from 'pg'
import {
  DataTypes,
  type Model,
  type ModelStatic,
  type Options,
  Sequelize,
  Transaction,
} from 'sequelize'
import {
  sequelizeHook,
  sequelizeOptions,
  sequelizeTransaction,
} from '../../../adapters/sequelize.js'
import type {
  Isolation,
  OpenClient,
  ResilientClient,
  Statements,
  TransactionStatements,
} from './resilient-client.js'

export const client: ResilientClient = {
  name: 'sequelize',
  entries: [
    {
      name: 'sequelizeOptions',
      open: (login, { poolSize }) =>
        openSequelize(new Sequelize(sequelizeOptions(login, ownOptions(poolSize)))),
      own: 'survives',
      retiresIdle: false,
      takesAgedBack: true,
      reopensEarly: false,
    },
    {
      name: 'sequelizeHook',
      open: (login, { poolSize }) => {
        const hooks = { beforeConnect: sequelizeHook(login) }
        const known = { databaseVersion: '16.0.0', keepDefaultTimezone: true }
        const options: Options = { ...ownOptions(poolSize), ...known, dialect: 'postgres', hooks }
        return openSequelize(new Sequelize(options))
      },
      own: 'survives',
      retiresIdle: false,
      takesAgedBack: true,
      reopensEarly: false,
    },
  ],
}

function ownOptions(poolSize: number): Options {
  // Sequelize empties an idle pool after 10 seconds, which would hide our own behaviour.
  return { pool: { max: poolSize, idle: 600_000 }, logging: false }
}

type Note = ModelStatic<Model<{ id: number }>>

function openSequelize(sequelize: Sequelize): OpenClient {
  const Note: Note = sequelize.define(
    'note',
    { id: { type: DataTypes.INTEGER, primaryKey: true } },
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
    insert: async (id) => {
      await Note.create({ id }, { transaction })
    },
  }
}

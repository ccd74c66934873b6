/** Opens Sequelize 7 for the hostile servers. */
import { Sequelize, type Transaction } from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import { sequelizeOptions, sequelizeTransaction } from '../../../adapters/sequelize-7.js'
import {
  COPY_TEXT,
  EXTENDED_TEXT,
  type HostileClient,
  type OpenHostileClient,
  simpleText,
  valueOf,
} from './hostile-client.js'
import { bareConfig } from './pg.js'

export const client: HostileClient = {
  name: 'sequelize-7',
  asksForTypes: true,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) =>
    openSequelize(new Sequelize(sequelizeOptions(login, OPTIONS)), { isOurs: true }),
  openBare: ({ host, port, user, password, database, ...tls }, connectTimeoutMs) => {
    const address = { host, port, user, password, database }
    const { ssl, connectionTimeoutMillis } = bareConfig({ ...address, ...tls }, connectTimeoutMs)
    return openSequelize(
      new Sequelize({
        ...OPTIONS,
        ...address,
        dialect: PostgresDialect,
        ...(ssl === undefined ? {} : { ssl }),
        ...(connectionTimeoutMillis === undefined ? {} : { connectionTimeoutMillis }),
      }),
    )
  },
}

const OPTIONS = { logging: false, pool: { max: 1, idle: 600_000 } } as const

function openSequelize(sequelize: Sequelize, { isOurs = false } = {}): OpenHostileClient {
  const work = (transaction: Transaction, word: string): Promise<unknown> =>
    simple(sequelize, word, transaction)
  return {
    simple: (word) => simple(sequelize, word),
    extended: async (word) => {
      const [rows] = await sequelize.query(EXTENDED_TEXT, { bind: [word] })
      return valueOf(rows)
    },
    transaction: (word) =>
      isOurs
        ? sequelizeTransaction(sequelize, (own) => work(own, word))
        : sequelize.transaction((own) => work(own, word)),
    copy: async () => (await sequelize.query(COPY_TEXT)).length,
    close: () => sequelize.close(),
  }
}

async function simple(
  sequelize: Sequelize,
  word: string,
  transaction: Transaction | null = null,
): Promise<unknown> {
  const [rows] = await sequelize.query(simpleText(word), { transaction })
  return valueOf(rows)
}

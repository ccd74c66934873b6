/** Opens Sequelize 6 for the hostile servers. */
import { type Options, Sequelize, type Transaction } from 'sequelize'
import { sequelizeOptions, sequelizeTransaction } from '../../../adapters/sequelize.js'
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
  name: 'sequelize',
  asksForTypes: true,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) =>
    openSequelize(new Sequelize(sequelizeOptions(login, OPTIONS)), { isOurs: true }),
  openBare: ({ host, port, user: username, password, database, ...tls }, connectTimeoutMs) => {
    const rest = { host, port, user: username, password, database, ...tls }
    const { ssl, connectionTimeoutMillis } = bareConfig(rest, connectTimeoutMs)
    return openSequelize(
      new Sequelize({
        ...OPTIONS,
        dialect: 'postgres',
        ...{ host, port, username, password, database },
        ...KNOWN_VERSION,
        dialectOptions: { ssl, connectionTimeoutMillis },
      }),
    )
  },
}

const OPTIONS: Options = { logging: false, pool: { max: 1, idle: 600_000 } }

/** Without it, Sequelize opens an additional connection to query it. */
const KNOWN_VERSION: object = { databaseVersion: '16.0.0' }

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

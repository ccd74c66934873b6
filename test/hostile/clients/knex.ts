/** Opens Knex for the hostile servers. */
import knex, { type Knex } from 'knex'
import { knexConfig, knexTransaction } from '../../../adapters/knex.js'
import {
  COPY_TEXT,
  simpleText,
  valueOf,
  type HostileClient,
  type OpenHostileClient,
} from './hostile-client.js'
import { bareConfig } from './pg.js'

export const client: HostileClient = {
  name: 'knex',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => openKnex(knex(knexConfig(login, ownConfig())), { isOurs: true }),
  openBare: (login, connectTimeoutMs) =>
    openKnex(
      knex({
        ...ownConfig(),
        client: 'pg',
        version: '16.0',
        connection: bareConfig(login, connectTimeoutMs) as Knex.PgConnectionConfig,
      }),
    ),
}

function ownConfig(): Knex.Config {
  const log = { warn() {}, error() {}, debug() {}, deprecate() {} }
  return { pool: { min: 0, max: 1 }, log }
}

function openKnex(db: Knex, { isOurs = false } = {}): OpenHostileClient {
  const work = (own: Knex.Transaction, word: string): Promise<unknown> =>
    statementsOn(own).simple(word)
  return {
    ...statementsOn(db),
    transaction: (word) =>
      isOurs
        ? knexTransaction(db, (own) => work(own, word))
        : db.transaction((own) => work(own, word)),
    copy: async () => (await db.raw<{ rows: unknown[] }>(COPY_TEXT)).rows.length,
    close: () => db.destroy(),
  }
}

function statementsOn(db: Knex): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf((await db.raw<{ rows: unknown[] }>(simpleText(word))).rows),
    extended: async (word) => {
      const { rows } = await db.raw<{ rows: unknown[] }>('SELECT ?::text AS v /* extended */', [
        word,
      ])
      return valueOf(rows)
    },
  }
}

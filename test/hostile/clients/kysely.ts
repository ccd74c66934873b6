/** Opens Kysely for the hostile servers. */
import { Kysely, PostgresDialect, sql } from 'kysely'
import { kyselyDialect, kyselyTransaction } from '../../../adapters/kysely.js'
import {
  COPY_TEXT,
  type HostileClient,
  type OpenHostileClient,
  simpleText,
  valueOf,
} from './hostile-client.js'
import { barePool } from './pg.js'

type Database = Kysely<unknown>

export const client: HostileClient = {
  name: 'kysely',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => {
    const db = new Kysely<unknown>({ dialect: kyselyDialect(login, { pool: { max: 1 } }) })
    return openDatabase(db, (word) =>
      kyselyTransaction(db, (own) => statementsOn(own).simple(word)),
    )
  },
  openBare: (login, connectTimeoutMs) => {
    const dialect = new PostgresDialect({ pool: barePool(login, connectTimeoutMs) })
    const db = new Kysely<unknown>({ dialect })
    return openDatabase(db, (word) =>
      db.transaction().execute((own) => statementsOn(own).simple(word)),
    )
  },
}

function openDatabase(
  db: Database,
  transaction: OpenHostileClient['transaction'],
): OpenHostileClient {
  return {
    ...statementsOn(db),
    transaction,
    copy: async () => (await sql.raw(COPY_TEXT).execute(db)).rows.length,
    close: () => db.destroy(),
  }
}

function statementsOn(db: Database): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf((await sql.raw(simpleText(word)).execute(db)).rows),
    extended: async (word) =>
      valueOf((await sql`SELECT ${word}::text AS v /* extended */`.execute(db)).rows),
  }
}

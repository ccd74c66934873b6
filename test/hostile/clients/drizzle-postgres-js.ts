/** Opens Drizzle on Postgres.js for the hostile servers. */
import { text } from 'node:stream/consumers'
import { sql } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import { drizzleClient, drizzleTransaction } from '../../../adapters/drizzle-postgres-js.js'
import {
  COPY_TEXT,
  simpleText,
  valueOf,
  type HostileClient,
  type OpenHostileClient,
} from './hostile-client.js'
import { OPTIONS, bareSql } from './postgres-js.js'

type Database = PostgresJsDatabase & { $client: Sql }

export const client: HostileClient = {
  name: 'drizzle-postgres-js',
  asksForTypes: true,
  describesFirst: true,
  leavesFailedStart: false,
  openOurs: (login) => {
    const db = drizzleClient(login, { connection: OPTIONS })
    return openDatabase(db, (word) =>
      drizzleTransaction(db, (own) => statementsOn(own).simple(word)),
    )
  },
  openBare: (login, connectTimeoutMs) => {
    const db = drizzle({ client: bareSql(login, connectTimeoutMs) })
    return openDatabase(db, (word) => db.transaction((own) => statementsOn(own).simple(word)))
  },
}

function openDatabase(
  db: Database,
  transaction: OpenHostileClient['transaction'],
): OpenHostileClient {
  return {
    ...statementsOn(db),
    transaction,
    copy: async () => text(await db.$client.unsafe(COPY_TEXT).readable()),
    close: () => db.$client.end({ timeout: 1 }),
  }
}

function statementsOn(
  db: Pick<PostgresJsDatabase, 'execute'>,
): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf(await db.execute(sql.raw(simpleText(word)))),
    extended: async (word) =>
      valueOf(await db.execute(sql`SELECT ${word}::text AS v /* extended */`)),
  }
}

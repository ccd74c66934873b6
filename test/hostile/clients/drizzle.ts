/** Opens Drizzle on pg for the hostile servers. */
import { sql } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { Pool } from 'pg'
import { drizzleClient, drizzleTransaction } from '../../../adapters/drizzle.js'
import {
  COPY_TEXT,
  type HostileClient,
  type OpenHostileClient,
  simpleText,
  valueOf,
} from './hostile-client.js'
import { barePool } from './pg.js'

type Database = NodePgDatabase & { $client: Pool }

export const client: HostileClient = {
  name: 'drizzle',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => {
    const db = drizzleClient(login, { connection: { max: 1 } })
    return openDatabase(db, (word) =>
      drizzleTransaction(db, (own) => statementsOn(own).simple(word)),
    )
  },
  openBare: (login, connectTimeoutMs) => {
    const db = drizzle({ client: barePool(login, connectTimeoutMs) })
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
    copy: async () => (await db.execute(sql.raw(COPY_TEXT))).rows.length,
    close: () => db.$client.end(),
  }
}

function statementsOn(
  db: Pick<NodePgDatabase, 'execute'>,
): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf((await db.execute(sql.raw(simpleText(word)))).rows),
    extended: async (word) =>
      valueOf((await db.execute(sql`SELECT ${word}::text AS v /* extended */`)).rows),
  }
}

/** Opens Postgres.js for the hostile servers. */
import { text } from 'node:stream/consumers'
import postgres, { type ISql, type Options, type Sql } from 'postgres'
import { createSql, sqlTransaction } from '../../../adapters/postgres-js.js'
import {
  COPY_TEXT,
  simpleText,
  valueOf,
  type BareLogin,
  type HostileClient,
  type OpenHostileClient,
} from './hostile-client.js'

export const client: HostileClient = {
  name: 'postgres-js',
  asksForTypes: true,
  describesFirst: true,
  leavesFailedStart: false,
  openOurs: (login) => openSql(createSql(login, OPTIONS), { isOurs: true }),
  openBare: (login, connectTimeoutMs) => openSql(bareSql(login, connectTimeoutMs)),
}

export const OPTIONS: Options<{}> = { max: 1, onnotice: () => {} }

export function bareSql({ isDirect, ssl, ...login }: BareLogin, connectTimeoutMs: number): Sql {
  return postgres({
    ...login,
    ...OPTIONS,
    ssl: { ...ssl },
    connect_timeout: connectTimeoutMs / 1_000,
    ...(isDirect ? { sslnegotiation: 'direct' } : {}),
  } as Options<{}>) as Sql
}

function openSql(sql: Sql, { isOurs = false } = {}): OpenHostileClient {
  return {
    ...statementsOn(sql),
    transaction: (word) =>
      isOurs
        ? sqlTransaction(sql, (own) => statementsOn(own).simple(word))
        : sql.begin((own) => statementsOn(own).simple(word)),
    copy: async () => text(await sql.unsafe(COPY_TEXT).readable()),
    close: () => sql.end({ timeout: 1 }),
  }
}

function statementsOn(sql: ISql): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf(await sql.unsafe(simpleText(word))),
    extended: async (word) => valueOf(await sql`SELECT ${word}::text AS v /* extended */`),
  }
}

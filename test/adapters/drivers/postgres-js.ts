/** Runs Postgres.js in the contract tests. */
import postgres, { type ISql, type Options, type Sql } from 'postgres'
import { createSql, postgresOptions } from '../../../adapters/postgres-js.js'
import type {
  AdapterDriver,
  AdapterVariant,
  Database,
  DriverSettings,
  Refusal,
  Statements,
} from '../../support/adapter-contract/adapter-driver.js'

export const postgresJsRefusals: Refusal[] = [
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'a password, called pass', options: { pass: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another host', options: { host: 'db.example.com' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'another hostname',
    options: { hostname: 'db.example.com' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a list of hosts',
    options: { host: ['a.example', 'b.example'] },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another port', options: { port: 6543 }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { user: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another username', options: { username: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'a user function', options: { user: () => 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another database', options: { database: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another db', options: { db: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a Unix socket',
    options: { path: '/run/postgresql/.s.PGSQL.5432' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a socket of its own',
    options: { socket: () => undefined },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'ssl: false', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
  { what: "ssl: 'require'", options: { ssl: 'require' }, code: 'ERR_TLS_UNVERIFIED' },
  { what: "ssl: 'prefer'", options: { ssl: 'prefer' }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'rejectUnauthorized: false',
    options: { ssl: { rejectUnauthorized: false } },
    code: 'ERR_TLS_UNVERIFIED',
  },
]

const sqlVariant: AdapterVariant<Options<{}>> = {
  name: 'createSql',
  options: postgresJsOptions,
  open: (login, options) => sqlDatabase(createSql(login, options)),
  refusesAt: 'construction',
  refusals: postgresJsRefusals,
}

const optionsVariant: AdapterVariant<Options<{}>> = {
  name: 'postgresOptions',
  options: postgresJsOptions,
  open: (login, options) => sqlDatabase(postgres(postgresOptions(login, options))),
  refusesAt: 'construction',
  refusals: postgresJsRefusals,
}

export const postgresJsDriver: AdapterDriver = {
  client: 'postgres-js',
  variants: [sqlVariant, optionsVariant],
}

export function postgresJsOptions({ poolSize, log }: DriverSettings): Options<{}> {
  return {
    max: poolSize,
    connection: { application_name: 'contract' },
    debug: (connection, query, parameters) => log(`${connection} ${query} ${parameters.join(' ')}`),
    onnotice: (notice) => log(JSON.stringify(notice)),
    onclose: (connection) => log(`closed ${connection}`),
  }
}

function sqlDatabase(sql: Sql): Database {
  return {
    ...statementsOn(sql),
    transaction: async (work) => {
      await sql.begin((transaction) => work(statementsOn(transaction)))
    },
    // Without a limit Postgres.js 3.4.9 waits forever for a slot whose connection was lost during a query.
    close: () => sql.end({ timeout: 1 }),
    objects: [sql, sql.options],
  }
}

function statementsOn(sql: ISql): Statements {
  return {
    run: async (text) => [...(await sql.unsafe<Record<string, unknown>[]>(text))],
    addNote: async (id, body) => {
      await sql`INSERT INTO note ${sql({ id, body })}`
    },
    findNote: async (id) => {
      const [note] = await sql<{ body: string }[]>`SELECT body FROM note WHERE id = ${id}`
      return note?.body
    },
  }
}

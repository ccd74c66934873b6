/** Postgres.js for the tests. */
import postgres, { type ISql, type Options, type Sql, type TransactionSql } from 'postgres'
import { createSql, postgresOptions, sqlTransaction } from '../../adapters/postgres-js.js'
import type {
  Client,
  ClientEntry,
  HeldConnection,
  OpenClient,
  OpenSettings,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'

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

const entry = {
  options: postgresJsOptions,
  refusesAt: 'construction',
  refusals: postgresJsRefusals,
  retiresIdle: true,
  reopensEarly: true,
} as const satisfies Partial<ClientEntry<Options<{}>>>

export const client: Client = {
  name: 'postgres-js',
  entries: [
    {
      ...entry,
      name: 'createSql',
      open: (login, options) => openSql(createSql(login, options)),
      own: 'protected',
      takesAgedBack: true,
    },
    {
      ...entry,
      name: 'postgresOptions',
      open: (login, options) => openSql(postgres(postgresOptions(login, options))),
      own: 'none',
      takesAgedBack: false,
    },
  ],
}

export function postgresJsOptions({ poolSize, log }: OpenSettings): Options<{}> {
  return {
    max: poolSize,
    connection: { application_name: 'contract' },
    debug: (connection, query, parameters) => log(`${connection} ${query} ${parameters.join(' ')}`),
    onnotice: (notice) => log(JSON.stringify(notice)),
    onclose: (connection) => log(`closed ${connection}`),
  }
}

export function openSql(sql: Sql): OpenClient {
  return {
    ...statementsOn(sql),
    transaction: (work, { isolation, ...retry } = {}) =>
      sqlTransaction(sql, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { begin: `isolation level ${isolation}` }),
        ...retry,
      }),
    ownTransaction: async <T>(work: (statements: TransactionStatements) => Promise<T>) =>
      (await sql.begin((transaction) => work(inTransaction(transaction)))) as T,
    hold: () => reserve(sql),
    // Without a limit Postgres.js 3.4.9 waits forever for a slot whose connection was lost during a query.
    close: () => sql.end({ timeout: 1 }),
    objects: [sql, sql.options],
  }
}

export async function reserve(sql: Sql): Promise<HeldConnection> {
  const reserved = await sql.reserve()
  return { run: statementsOn(reserved).run, release: async () => reserved.release() }
}

function inTransaction(transaction: TransactionSql): TransactionStatements {
  return {
    ...statementsOn(transaction),
    own: transaction,
    nested: async <T>(work: (statements: Statements) => Promise<T>) =>
      (await transaction.savepoint((inner) => work(statementsOn(inner)))) as T,
  }
}

function statementsOn(sql: ISql): Statements {
  return {
    run: async (text) => [...(await sql.unsafe<Record<string, unknown>[]>(text))],
    addNote: async (id, body) => {
      await sql`INSERT INTO note ${sql({ id, body: body ?? null })}`
    },
    findNote: async (id) => {
      const [note] = await sql<{ body: string }[]>`SELECT body FROM note WHERE id = ${id}`
      return note?.body
    },
  }
}

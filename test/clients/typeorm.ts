/** TypeORM for the tests. */
import type { Pool } from 'pg'
import { DataSource, type EntityManager, EntitySchema, type Logger, type LogLevel } from 'typeorm'
import {
  typeormOptions,
  typeormPassword,
  type TypeormPostgresOptions,
  typeormTransaction,
} from '../../adapters/typeorm.js'
import type { Login } from '../../core/index.js'
import type {
  Client,
  ClientEntry,
  Isolation,
  OpenClient,
  OpenSettings,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'

type Options = Partial<TypeormPostgresOptions>

const optionRefusals: Refusal[] = [
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a password function',
    options: { password: () => 'secret' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a URL',
    options: { url: 'postgres://app@db.example.com/shop' },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another host', options: { host: 'db.example.com' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another port', options: { port: 6543 }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { username: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another database', options: { database: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'ssl: false', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'rejectUnauthorized: false',
    options: { ssl: { rejectUnauthorized: false } },
    code: 'ERR_TLS_UNVERIFIED',
  },
  {
    what: 'a password in extra',
    options: { extra: { password: 'secret' } },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a connection string in extra',
    options: { extra: { connectionString: 'postgres://app@db.example.com/shop' } },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'ssl: false in extra', options: { extra: { ssl: false } }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'replication',
    options: { replication: { master: { host: 'a.example' }, slaves: [] } },
    code: 'ERR_OPTION_CONFLICT',
  },
]

const behaviour = {
  own: 'survives, but for late statements',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: false,
} as const

const optionsEntry: ClientEntry<Options> = {
  ...behaviour,
  name: 'typeormOptions',
  options: typeormSettings,
  open: (login, options) =>
    openDataSource(new DataSource(typeormOptions(login, { ...options, entities: [noteSchema] }))),
  refusesAt: 'construction',
  refusals: optionRefusals,
}

const passwordEntry: ClientEntry<Options> = {
  ...behaviour,
  name: 'typeormPassword',
  connectsItself: true,
  options: typeormSettings,
  open: (login, options) => {
    const dataSource = new DataSource({
      ...ownConnection(login),
      ...options,
      entities: [noteSchema],
    })
    const pool = (): Pool | undefined => (dataSource.driver as unknown as { master?: Pool }).master
    return { ...openDataSource(dataSource), connections: () => pool()?.idleCount ?? 0 }
  },
  refusesAt: 'connection',
  refusals: [
    { what: 'no TLS', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
    {
      what: 'rejectUnauthorized: false',
      options: { ssl: { rejectUnauthorized: false } },
      code: 'ERR_TLS_UNVERIFIED',
    },
  ],
}

export const client: Client = { name: 'typeorm', entries: [optionsEntry, passwordEntry] }

/** The options of a user who only takes the password from the adapter. */
function ownConnection(login: Login): TypeormPostgresOptions {
  const { host, port } = login.connectTo ?? login
  return {
    type: 'postgres',
    host,
    port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    password: typeormPassword(login),
    ssl: { ...login.tls },
  }
}

function typeormSettings({ poolSize, log }: OpenSettings): Options {
  return {
    poolSize,
    applicationName: 'contract',
    logging: 'all',
    logger: lineLogger(log),
    poolErrorHandler: (error) => log(`pool error ${error}`),
  }
}

function lineLogger(log: (line: string) => void): Logger {
  return {
    logQuery: (query, parameters) => log(`${query} ${JSON.stringify(parameters)}`),
    logQueryError: (error, query, parameters) =>
      log(`${error} ${query} ${JSON.stringify(parameters)}`),
    logQuerySlow: (time, query, parameters) =>
      log(`${time} ${query} ${JSON.stringify(parameters)}`),
    logSchemaBuild: log,
    logMigration: log,
    log: (level: LogLevel, message: unknown) => log(`${level} ${String(message)}`),
  }
}

interface Note {
  id: number
  body?: string
}

const noteSchema = new EntitySchema<Note>({
  name: 'note',
  tableName: 'note',
  columns: { id: { type: 'int', primary: true }, body: { type: 'text', nullable: true } },
})

const LEVELS = {
  'repeatable read': 'REPEATABLE READ',
  serializable: 'SERIALIZABLE',
} as const satisfies Record<Isolation, string>

export function openDataSource(dataSource: DataSource): OpenClient {
  let starting: Promise<DataSource> | undefined
  // TypeORM must be initialized once, before the first query. A failure is not remembered.
  const ready = async (): Promise<DataSource> => {
    if (!dataSource.isInitialized) {
      starting ??= dataSource.initialize().finally(() => (starting = undefined))
      await starting
    }
    return dataSource
  }
  return {
    ...statementsOn(async () => (await ready()).manager),
    transaction: async (work, { isolation, ...retry } = {}) =>
      typeormTransaction(await ready(), (manager) => work(inTransaction(manager)), {
        ...(isolation === undefined ? {} : { isolationLevel: LEVELS[isolation] }),
        ...retry,
      }),
    ownTransaction: async (work) =>
      (await ready()).transaction((manager) => work(inTransaction(manager))),
    hold: async () => {
      const runner = (await ready()).createQueryRunner()
      return {
        run: (text) => runner.query(text) as Promise<Record<string, unknown>[]>,
        release: () => runner.release(),
      }
    },
    close: async () => {
      if (dataSource.isInitialized) await dataSource.destroy()
    },
    objects: [dataSource, dataSource.options, dataSource.driver],
  }
}

function inTransaction(manager: EntityManager): TransactionStatements {
  return {
    ...statementsOn(async () => manager),
    own: manager,
    nested: (work) => manager.transaction((inner) => work(statementsOn(async () => inner))),
  }
}

function statementsOn(manager: () => Promise<EntityManager>): Statements {
  return {
    run: async (text) => (await manager()).query<Record<string, unknown>[]>(text),
    addNote: async (id, body) => {
      await (await manager()).insert(noteSchema, { id, ...(body === undefined ? {} : { body }) })
    },
    findNote: async (id) => (await (await manager()).findOneBy(noteSchema, { id }))?.body,
  }
}

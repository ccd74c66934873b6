/** Opens TypeORM for the resilience tests. */
import { DataSource, type EntityManager, EntitySchema } from 'typeorm'
import { typeormOptions, typeormPassword, typeormTransaction } from '../../../adapters/typeorm.js'
import type { Login } from '../../../core/index.js'
import type {
  Isolation,
  OpenClient,
  ResilientClient,
  Statements,
  TransactionStatements,
} from './resilient-client.js'

export const client: ResilientClient = {
  name: 'typeorm',
  entries: [
    {
      name: 'typeormOptions',
      open: (login, { poolSize }) =>
        openDataSource(
          new DataSource(
            typeormOptions(login, { poolSize, entities: [noteSchema], poolErrorHandler: () => {} }),
          ),
        ),
      own: 'survives, but for late statements',
      retiresIdle: true,
      takesAgedBack: true,
      reopensEarly: false,
    },
  ],
}

/** With only the password, connections are TypeORM's own, so this is for behaviour that does not depend on them. */
export function openWithPassword(login: Login, poolSize: number): OpenClient {
  const { host, port } = login.connectTo ?? login
  return openDataSource(
    new DataSource({
      type: 'postgres',
      host,
      port,
      database: login.database,
      ...(login.user === undefined ? {} : { username: login.user }),
      password: typeormPassword(login),
      ssl: { ...login.tls },
      poolSize,
      entities: [noteSchema],
      poolErrorHandler: () => {},
    }),
  )
}

const noteSchema = new EntitySchema<{ id: number }>({
  name: 'note',
  tableName: 'note',
  columns: { id: { type: 'int', primary: true } },
})

const LEVELS = {
  'repeatable read': 'REPEATABLE READ',
  serializable: 'SERIALIZABLE',
} as const satisfies Record<Isolation, string>

function openDataSource(dataSource: DataSource): OpenClient {
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
    insert: async (id) => {
      await (await manager()).insert(noteSchema, { id })
    },
  }
}

/** Opens TypeORM for the hostile servers. */
import { DataSource, type DataSourceOptions, type EntityManager } from 'typeorm'
import { typeormOptions, typeormTransaction } from '../../../adapters/typeorm.js'
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
  name: 'typeorm',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: true,
  openOurs: (login) =>
    openDataSource(
      new DataSource(typeormOptions(login, { poolSize: 1, poolErrorHandler: () => {} })),
      { isOurs: true },
    ),
  openBare: (login, connectTimeoutMs) =>
    openDataSource(
      new DataSource({
        type: 'postgres',
        // TypeORM queries the database version if this is missing.
        database: login.database,
        extra: bareConfig(login, connectTimeoutMs),
        poolSize: 1,
        poolErrorHandler: () => {},
      } as DataSourceOptions),
    ),
}

function openDataSource(dataSource: DataSource, { isOurs = false } = {}): OpenHostileClient {
  let starting: Promise<DataSource> | undefined
  const ready = async (): Promise<DataSource> => {
    if (dataSource.isInitialized) return dataSource
    starting ??= dataSource.initialize().finally(() => (starting = undefined))
    return starting
  }
  const run = async <T>(work: (opened: DataSource) => Promise<T>): Promise<T> => work(await ready())
  return {
    simple: (word) => run((opened) => simple(opened.manager, word)),
    extended: (word) =>
      run(async (opened) => valueOf(await opened.query<unknown[]>(EXTENDED_TEXT, [word]))),
    transaction: (word) =>
      run((opened) =>
        isOurs
          ? typeormTransaction(opened, (own) => simple(own, word))
          : opened.transaction((own) => simple(own, word)),
      ),
    copy: () => run(async (opened) => (await opened.query<unknown[]>(COPY_TEXT)).length),
    close: async () => {
      if (dataSource.isInitialized) await dataSource.destroy()
    },
  }
}

async function simple(manager: EntityManager, word: string): Promise<unknown> {
  return valueOf(await manager.query<unknown[]>(simpleText(word)))
}

/** TypeORM. */
import { DataSource, type DataSourceOptions } from 'typeorm'
import { typeormOptions } from '../../../adapters/typeorm.js'
import { QUERY, type BenchClient, type BenchPool } from './bench-client.js'
import { pgPoolOptions } from './pg.js'

export const typeormClient: BenchClient = {
  name: 'typeorm',
  openStatic: ({ user: username, ...login }, poolSize) =>
    opened({ type: 'postgres', username, ...login, ...options(poolSize) }),
  openOurs: (login, poolSize) => opened(typeormOptions(login, options(poolSize))),
}

function options(poolSize: number): { extra: object } {
  return { extra: pgPoolOptions(poolSize) }
}

async function opened(dataSourceOptions: DataSourceOptions): Promise<BenchPool> {
  const dataSource = await new DataSource(dataSourceOptions).initialize()
  return { query: () => dataSource.query(QUERY), close: () => dataSource.destroy() }
}

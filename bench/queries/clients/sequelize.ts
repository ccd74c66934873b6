/** Sequelize 6. */
import { QueryTypes, Sequelize, type Options } from 'sequelize'
import { sequelizeOptions } from '../../../adapters/sequelize.js'
import { QUERY, type BenchClient, type BenchPool } from './bench-client.js'

export const sequelizeClient: BenchClient = {
  name: 'sequelize',
  openStatic: ({ host, port, user: username, password, database, ssl }, poolSize) => {
    const address = { host, port, username, password, database, dialectOptions: { ssl } }
    return poolOf(new Sequelize({ dialect: 'postgres', ...address, ...options(poolSize) }))
  },
  openOurs: (login, poolSize) => poolOf(new Sequelize(sequelizeOptions(login, options(poolSize)))),
}

function options(poolSize: number): Options {
  return { logging: false, pool: { min: poolSize, max: poolSize } }
}

function poolOf(sequelize: Sequelize): BenchPool {
  return {
    query: () => sequelize.query(QUERY, { type: QueryTypes.SELECT }),
    close: () => sequelize.close(),
  }
}

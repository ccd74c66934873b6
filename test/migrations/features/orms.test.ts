/** What each ORM can do in ordinary use on Aurora DSQL. MikroORM, which needs Node 22, is in test/mikro-orm. */
import { describeFeatures, FEATURES, partsOf, readPage, useTables } from './features.js'
import { pg, postgresJs } from './orms/drivers.js'
import { orms as drizzle } from './orms/drizzle.js'
import { orm as knex } from './orms/knex.js'
import { orm as kysely } from './orms/kysely.js'
import { orm as prisma } from './orms/prisma.js'
import { orm as sequelize } from './orms/sequelize.js'
import { orm as sequelize7 } from './orms/sequelize-7.js'
import { orm as typeorm } from './orms/typeorm.js'

const context = useTables()
describeFeatures(sequelize, context)
describeFeatures(sequelize7, context)
describeFeatures(typeorm, context)
describeFeatures(knex, context)
describeFeatures(kysely, context)
for (const orm of drizzle) describeFeatures(orm, context)
describeFeatures(prisma, context)
describeFeatures(pg, context)
describeFeatures(postgresJs, context)

it('docs/orm-features.md has a row for each feature, and a column for each ORM that is tested', () => {
  const { features, columns } = partsOf(readPage())
  expect(features).toEqual(FEATURES)
  const orms = [sequelize, sequelize7, typeorm, knex, kysely, ...drizzle, prisma, pg, postgresJs]
  const names = [...orms.map(({ name }) => name), 'MikroORM']
  expect([...columns.keys()].toSorted()).toEqual(names.toSorted())
})

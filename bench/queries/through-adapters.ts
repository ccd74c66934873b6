/** Queries through the pool of each adapter, and of the same client with a static password. */
import { customLogin } from '../../core/index.js'
import type { BenchContext, Comparison, ComparisonSection } from '../frame/benchmark.js'
import type { TlsPostgres } from '../postgres/tls-postgres.js'
import type { BenchClient } from './clients/bench-client.js'
import { drizzleOnPostgresJs } from './clients/drizzle-postgres-js.js'
import { drizzleOnPg } from './clients/drizzle.js'
import { knexClient } from './clients/knex.js'
import { pgClient } from './clients/pg.js'
import { postgresJsClient } from './clients/postgres-js.js'
import { sequelizeClient } from './clients/sequelize.js'
import { typeormClient } from './clients/typeorm.js'
import { comparePools } from './compare-pools.js'
import { queryLoad } from './load.js'

const CLIENTS: readonly BenchClient[] = [
  sequelizeClient,
  typeormClient,
  knexClient,
  drizzleOnPg,
  drizzleOnPostgresJs,
  pgClient,
  postgresJsClient,
]

export async function queriesThroughAdapters(
  postgres: TlsPostgres,
  context: BenchContext,
): Promise<ComparisonSection> {
  const load = queryLoad(context)
  const role = postgres.passwordRole
  const comparisons: Comparison[] = []
  for (const { name, openStatic, openOurs } of CLIENTS) {
    for (const tasks of load.tasks) {
      const login = customLogin({
        ...postgres.loginOptions(role),
        getToken: () => postgres.password,
      })
      const contest = {
        name: `${name}, ${tasks} ${tasks === 1 ? 'task' : 'tasks'}`,
        tasks,
        baseline: ['static password', () => openStatic(postgres.staticLogin(role), tasks)],
        others: [['pg-iam', () => openOurs(login, tasks)]],
      } as const
      comparisons.push(await comparePools(contest, load, context))
    }
  }
  return {
    kind: 'comparison',
    name: 'adapters',
    title: 'Queries through the pool of each client',
    notes: [
      'One PostgreSQL, which all dial directly over verified TLS; the pool has a connection for each task.',
      "The token of pg-iam is the password itself, which PostgreSQL checks like everybody's.",
    ],
    unit: 'queries/s',
    better: 'more',
    comparisons,
  }
}

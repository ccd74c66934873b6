/** The policies that are compared. */
import { oneAttempt } from './one-attempt.js'
import { pgIam } from './pg-iam.js'
import type { Policy } from './policy.js'

export const PG_IAM: Policy = pgIam({
  name: 'pg-iam',
  description: 'its defaults: no `connectRate`, lifetimes of 44 to 55 minutes',
})

/** A tenth of a connection a second, in 1,000 processes, is what the service allows to all of them. */
export const PG_IAM_RATED: Policy = pgIam({
  name: 'pg-iam, connectRate 0.1',
  description: 'the rate of the cluster divided by the number of processes',
  connectRate: 0.1,
})

export const IMMEDIATE: Policy = oneAttempt({
  name: 'fixed lifetime, immediate retry',
  description:
    'each connection replaced at 55 minutes, no backoff: what `@aws/aurora-dsql-node-postgres-connector` 0.1.9 does when every call that failed is made again at once',
  lifetimeSecs: () => 3_300,
})

export const EVERY_SECOND: Policy = oneAttempt({
  name: 'fixed lifetime, retry after 1 s',
  description: 'the same with an application that waits for a second',
  lifetimeSecs: () => 3_300,
  pauseMs: () => 1_000,
})

/** Its backoff counts network errors only, so after a refusal it is that of no error at all: half to all of 10 ms. */
export const POSTGRES_JS: Policy = oneAttempt({
  name: 'Postgres.js',
  description:
    'Postgres.js 3.4.9 by its defaults: lifetimes of 30 to 60 minutes, and after a refusal, which its backoff does not count, 5 to 10 ms',
  lifetimeSecs: (random) => 60 * (30 + random() * 30),
  pauseMs: (random) => 10 * (0.5 + random() / 2),
})

export const NO_LIFETIME: Policy = oneAttempt({
  name: 'no lifetime, immediate retry',
  description:
    'connections stay until the service ends them: the defaults of pg, Sequelize, TypeORM and Knex',
  lifetimeSecs: () => Infinity,
})

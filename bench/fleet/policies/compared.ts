/** The compared policies. */
import { oneAttempt } from './one-attempt.js'
import { pgIam } from './pg-iam.js'
import type { Policy } from './policy.js'

export const PG_IAM: Policy = pgIam({
  name: 'pg-iam',
  description: 'The code of this repository, with its defaults.',
})

/** A tenth of a connection per second for each of 1,000 processes equals the rate limit of the service. */
export const PG_IAM_RATED: Policy = pgIam({
  name: 'pg-iam, rated',
  description:
    'The same with `connectRate: 0.1`, which is the rate of the cluster divided by the number of processes, and with `connectTimeoutMs: 120_000`, so that a call waits instead of failing.',
  options: { connectRate: 0.1, connectTimeoutMs: 120_000 },
})

export const IMMEDIATE: Policy = oneAttempt({
  name: 'immediate retry',
  description:
    'Each connection is replaced at 55 minutes; a failed call is retried immediately. `@aws/aurora-dsql-node-postgres-connector` 0.1.9 under steady load: lifetime 3,300 s without jitter, no backoff.',
  lifetimeSecs: () => 3_300,
})

export const EVERY_SECOND: Policy = oneAttempt({
  name: 'retry after 1 s',
  description: 'The same, in an application that waits one second before it retries.',
  lifetimeSecs: () => 3_300,
  pauseMs: () => 1_000,
})

/** Its backoff counts errors of the network only, and is half to all of 10 ms as long as there are none. */
export const POSTGRES_JS: Policy = oneAttempt({
  name: 'Postgres.js',
  description:
    'The random lifetimes of Postgres.js 3.4.9, 30 to 60 minutes by default; retry after 1 s. Its own backoff does not apply to refused connections: without the pause it behaves like "immediate retry".',
  lifetimeSecs: (random) => 60 * (30 + random() * 30),
  pauseMs: () => 1_000,
})

export const NO_LIFETIME: Policy = oneAttempt({
  name: 'no lifetime',
  description:
    'Connections stay open until the service ends them, the default of pg, Sequelize, TypeORM and Knex; retry after 1 s.',
  lifetimeSecs: () => Infinity,
  pauseMs: () => 1_000,
})

/** Queries through pools of pg whose tokens are signed for Aurora DSQL: by pg-iam, and by AWS's connector. */
import { setTimeout as delay } from 'node:timers/promises'
import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'
import { createPool } from '../../adapters/pg.js'
import { auroraDsql, type AwsCredentials } from '../../core/index.js'
import type { BenchContext, Comparison, ComparisonSection } from '../frame/benchmark.js'
import { CREDENTIALS, CREDENTIALS_ENVIRONMENT, forgetCloud } from '../frame/surroundings.js'
import type { TlsPostgres } from '../postgres/tls-postgres.js'
import { pgClient, pgPoolOptions, poolOf } from './clients/pg.js'
import { comparePools, type OpenPool } from './compare-pools.js'
import { queryLoad } from './load.js'

type GetCredentials = (() => Promise<AwsCredentials>) | undefined

/** `undefined` is what a user gets who gives none: the chain of the AWS SDK, which looks into the environment first. */
const CREDENTIALS_FROM: Readonly<Record<string, GetCredentials>> = {
  'instant credentials': async () => CREDENTIALS,
  'environment credentials': undefined,
  '2 ms credentials': async () => {
    await delay(2)
    return CREDENTIALS
  },
}

export async function queriesAgainstConnector(
  postgres: TlsPostgres,
  context: BenchContext,
): Promise<ComparisonSection> {
  const load = queryLoad(context)
  const role = postgres.openRole
  const comparisons: Comparison[] = []
  Object.assign(process.env, CREDENTIALS_ENVIRONMENT)
  for (const tasks of load.tasks) {
    const others = Object.entries(CREDENTIALS_FROM).flatMap(([name, credentials]) => [
      [`pg-iam, ${name}`, () => ourPool(postgres, tasks, credentials)] as const,
      [`AWS connector, ${name}`, () => connectorPool(postgres, tasks, credentials)] as const,
    ])
    const openStatic: OpenPool = () => pgClient.openStatic(postgres.staticLogin(role), tasks)
    const contest = {
      name: `signed tokens, ${tasks} ${tasks === 1 ? 'task' : 'tasks'}`,
      tasks,
      baseline: ['static password', openStatic] as const,
      others,
    }
    comparisons.push(await comparePools(contest, load, context))
  }
  forgetCloud(process.env)
  return {
    kind: 'comparison',
    name: 'connector',
    title: 'Queries with tokens signed for Aurora DSQL',
    notes: [
      'Every token is signed as it would be for AWS. PostgreSQL, which cannot check it, lets this role in without asking any',
      'competitor for its password, so the connections of all are the same. "AWS connector" is the AuroraDSQLPool of',
      '@aws/aurora-dsql-node-postgres-connector; "2 ms credentials" come from a function that takes as long as a metadata endpoint may.',
    ],
    unit: 'queries/s',
    better: 'more',
    comparisons,
  }
}

function ourPool(
  postgres: TlsPostgres,
  poolSize: number,
  credentials: GetCredentials,
): ReturnType<OpenPool> {
  const login = auroraDsql({
    ...postgres.loginOptions(postgres.openRole),
    region: REGION,
    ...(credentials === undefined ? {} : { credentials }),
  })
  return poolOf(createPool(login, pgPoolOptions(poolSize)))
}

function connectorPool(
  postgres: TlsPostgres,
  poolSize: number,
  credentials: GetCredentials,
): ReturnType<OpenPool> {
  const { password: _password, ...address } = postgres.staticLogin(postgres.openRole)
  const pool = new AuroraDSQLPool({
    ...address,
    region: REGION,
    ...pgPoolOptions(poolSize),
    ...(credentials === undefined ? {} : { customCredentialsProvider: credentials }),
  })
  return poolOf(pool)
}

const REGION = 'us-east-1'

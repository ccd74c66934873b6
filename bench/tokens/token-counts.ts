/** How many tokens and credentials a pool asks for, which is the same each time. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'
import type { Pool } from 'pg'
import { createPool } from '../../adapters/pg.js'
import { auroraDsql, type AwsCredentials } from '../../core/index.js'
import type { BenchContext, CountRow, CountSection } from '../frame/benchmark.js'
import { CREDENTIALS } from '../frame/surroundings.js'
import type { TlsPostgres } from '../postgres/tls-postgres.js'
import { pgPoolOptions, poolOf } from '../queries/clients/pg.js'
import { throughput } from '../queries/throughput.js'

const QUERIES = 1_000
const CONNECTIONS = 5
const REGION = 'us-east-1'

type GetCredentials = () => Promise<AwsCredentials>

/** A pool, and how many tokens its connections have cost by now. */
interface CountedPool {
  readonly pool: Pool
  readonly tokens: () => number
  /** Ends the counting. */
  readonly stop: () => void
}

export async function tokenCounts(
  server: TlsPostgres,
  { progress }: BenchContext,
): Promise<CountSection> {
  const rows: CountRow[] = []
  for (const [name, open] of Object.entries({ 'pg-iam': openPool, 'AWS connector': openTheirs })) {
    progress(`counts, ${name}`)
    rows.push({
      name,
      counts: await countsOf((credentials) => open(server, credentials)),
    })
  }
  return {
    kind: 'counts',
    name: 'counts',
    title: `What ${QUERIES.toLocaleString('en-GB')} queries on ${CONNECTIONS} connections ask for`,
    notes: [
      'Tokens are counted where they are made: by the login, and in the signer of the AWS SDK, which the connector signs with. Calls are',
      'counted in the function that gives the credentials.',
    ],
    rows,
  }
}

function openPool(server: TlsPostgres, credentials: GetCredentials): CountedPool {
  const options = { ...server.loginOptions(server.openRole), region: REGION, credentials }
  const login = auroraDsql(options)
  return {
    pool: createPool(login, pgPoolOptions(CONNECTIONS)),
    tokens: () => login.stats().tokensMade,
    stop: () => {},
  }
}

function openTheirs(server: TlsPostgres, customCredentialsProvider: GetCredentials): CountedPool {
  const { password: _password, ...address } = server.staticLogin(server.openRole)
  const pool = new AuroraDSQLPool({
    ...address,
    region: REGION,
    customCredentialsProvider,
    ...pgPoolOptions(CONNECTIONS),
  })
  return { pool, ...countSignatures() }
}

/** Counts what all signers of the SDK sign in this process. */
function countSignatures(): Omit<CountedPool, 'pool'> {
  const { getDbConnectAuthToken } = DsqlSigner.prototype
  let tokens = 0
  DsqlSigner.prototype.getDbConnectAuthToken = function counted(this: DsqlSigner) {
    tokens++
    return getDbConnectAuthToken.call(this)
  }
  return {
    tokens: () => tokens,
    stop: () => void (DsqlSigner.prototype.getDbConnectAuthToken = getDbConnectAuthToken),
  }
}

async function countsOf(
  open: (credentials: GetCredentials) => CountedPool,
): Promise<Record<string, number>> {
  let calls = 0
  const { pool, tokens, stop } = open(async () => {
    calls++
    return CREDENTIALS
  })
  try {
    await throughput(poolOf(pool), CONNECTIONS, QUERIES)
    return { 'credentials calls': calls, tokens: tokens(), connections: pool.totalCount }
  } finally {
    stop()
    await pool.end()
  }
}

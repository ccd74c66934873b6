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

type OpenPool = (credentials: () => Promise<AwsCredentials>) => Pool

export async function tokenCounts(
  server: TlsPostgres,
  { progress }: BenchContext,
): Promise<CountSection> {
  const role = server.openRole
  const { password: _password, ...address } = server.staticLogin(role)
  const competitors: Readonly<Record<string, OpenPool>> = {
    'pg-iam': (credentials) =>
      createPool(
        auroraDsql({ ...server.loginOptions(role), region: REGION, credentials }),
        pgPoolOptions(CONNECTIONS),
      ),
    'AWS connector': (customCredentialsProvider) =>
      new AuroraDSQLPool({
        ...address,
        region: REGION,
        customCredentialsProvider,
        ...pgPoolOptions(CONNECTIONS),
      }),
  }
  const rows: CountRow[] = []
  for (const [name, open] of Object.entries(competitors)) {
    progress(`counts, ${name}`)
    rows.push({ name, counts: await countsOf(open) })
  }
  return {
    kind: 'counts',
    name: 'counts',
    title: `What ${QUERIES.toLocaleString('en-GB')} queries on ${CONNECTIONS} connections ask for`,
    notes: [
      'Tokens are counted in the signer of the AWS SDK, which both sign with; calls in the function that gives the credentials.',
    ],
    rows,
  }
}

async function countsOf(open: OpenPool): Promise<Record<string, number>> {
  let calls = 0
  const credentials = async (): Promise<typeof CREDENTIALS> => {
    calls++
    return CREDENTIALS
  }
  const signatures = countSignatures()
  const pool = open(credentials)
  try {
    await throughput(poolOf(pool), CONNECTIONS, QUERIES)
    return { 'credentials calls': calls, tokens: signatures.count(), connections: pool.totalCount }
  } finally {
    signatures.stop()
    await pool.end()
  }
}

/** Counts what all signers of this process sign. */
function countSignatures(): { count(): number; stop(): void } {
  const { getDbConnectAuthToken } = DsqlSigner.prototype
  let count = 0
  DsqlSigner.prototype.getDbConnectAuthToken = function counted(this: DsqlSigner) {
    count++
    return getDbConnectAuthToken.call(this)
  }
  return {
    count: () => count,
    stop: () => void (DsqlSigner.prototype.getDbConnectAuthToken = getDbConnectAuthToken),
  }
}

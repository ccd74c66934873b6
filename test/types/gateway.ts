/** User code for the gateway compiles without a cast. Nothing here runs. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Pool } from 'pg'
import { createPool } from '../../adapters/pg.js'
import { startGateway, type Gateway, type GatewayStats } from '../../gateway/index.js'

export async function work(): Promise<GatewayStats> {
  const gateway: Gateway = await startGateway({ roles: ['admin', 'app'], lockTimeoutMs: 1_000 })
  await startGateway({ upstream: { host: '/run/postgresql', port: 5432 } })
  const pool = createPool(gateway.login({ user: 'admin' }), { max: 2 })
  await pool.query('SELECT 1')

  // Clients that know nothing of us take the credentials and the authority as they are.
  const signer = new DsqlSigner({
    hostname: gateway.clusters[0] ?? '',
    region: 'us-east-1',
    credentials: gateway.credentials,
  })
  const password = await signer.getDbConnectAuthToken()
  const own = new Pool({
    host: gateway.host,
    port: gateway.port,
    password,
    ssl: { ca: gateway.ca },
  })
  await own.end()
  const { accessKeyId } = gateway.issueCredentials({ durationSecs: 900 })
  gateway.revokeCredentials(accessKeyId)
  await gateway.close()
  return gateway.stats()
}

// @ts-expect-error no such engine
void startGateway({ engine: 'sqlite' })

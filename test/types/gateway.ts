/** User code for the gateway compiles without a cast. Nothing here runs. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Pool } from 'pg'
import { createPool } from '../../adapters/pg.js'
import {
  startGateway,
  type EndpointOptions,
  type Gateway,
  type GatewayStats,
} from '../../gateway/index.js'

export async function work(): Promise<GatewayStats> {
  const gateway: Gateway = await startGateway({ roles: ['admin', 'app'], lockTimeoutMs: 1_000 })
  await startGateway({ upstream: { host: '/run/postgresql', port: 5432 } })
  const pool = createPool(gateway.login({ user: 'admin' }), { max: 2 })
  await pool.query('SELECT 1')

  // Other clients use the credentials and the CA directly.
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

/** Several providers at once, each with its own options. */
export async function workWithProviders(): Promise<number[]> {
  const host = 'orders.abcdefghijkl.eu-west-1.rds.amazonaws.com'
  const principal = { accessKeyId: 'AKIA', secretAccessKey: 'secret', roles: ['app'] }
  const endpoints: EndpointOptions[] = [
    { provider: 'rds', hosts: [host], port: 5433, principals: [principal] },
    {
      provider: 'redshift',
      hosts: ['shop.abcdefghijkl.eu-west-1.redshift.amazonaws.com'],
      users: [
        { roleArn: 'arn:aws:iam::111122223333:role/alice', subject: 'alice', dbUsers: ['app'] },
      ],
    },
    { provider: 'password', hosts: ['a.example.com'], users: { app: 'secret' }, method: 'md5' },
    { provider: 'password', hosts: ['b.example.com'], users: async (role) => `${role}!` },
    { provider: 'certificate', hosts: ['c.example.com'], ca: 'clients.pem', listen: 0 },
    { provider: 'none', hosts: ['d.example.com'] },
  ]
  const gateway = await startGateway({
    endpoints,
    webIdentity: { issuer: 'https://login.example.com', audience: 'shop' },
  })
  const url: string | undefined = gateway.awsEndpointUrl
  gateway.login({ apiEndpoint: url ?? '', dbUser: 'app' })
  const login = gateway.login({ host, user: 'app', reuseTokenSecs: 0 })
  await createPool(login).end()
  gateway.issueCredentials({ host, roles: ['app'] })
  return gateway.endpoints.map(({ port }) => port)
}

// @ts-expect-error roles are required
void startGateway({ endpoints: [{ provider: 'redshift', hosts: ['a'], users: [{}] }] })

// @ts-expect-error passwords are required
void startGateway({ endpoints: [{ provider: 'password', hosts: ['a.example.com'] }] })

// @ts-expect-error no such engine
void startGateway({ engine: 'sqlite' })

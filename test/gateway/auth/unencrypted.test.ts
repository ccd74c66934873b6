import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import type { EndpointOptions, Gateway } from '../../../gateway/index.js'
import { errorFields, startup } from '../raw-client.js'
import { DSQL, ENDPOINTS, OPEN, PLAIN, RDS } from '../several-endpoints.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

const server = usePostgres()
const log = recordLog()

describe('a client without TLS', () => {
  /** The error of the client, and its IP address as the gateway sees it. */
  async function answerTo(
    own: Gateway,
    port: number,
    user: string,
  ): Promise<Record<string, string>> {
    const socket = connectTcp({ host: own.host, port })
    const received: Buffer[] = []
    socket.on('data', (chunk: Buffer) => received.push(chunk))
    socket.write(startup({ user, database: 'postgres' }))
    await once(socket, 'close')
    return errorFields({ type: 'E', body: Buffer.concat(received).subarray(5) })
  }
  const origin = 'host "127.0.0.1", user "app", database "postgres", no encryption'

  it.each<[what: string, endpoint: EndpointOptions, message: string]>([
    [
      'Aurora DSQL',
      { provider: 'aurora-dsql', hosts: [DSQL] },
      'unable to accept connection, TLS is required',
    ],
    ['RDS', { provider: 'rds', hosts: [RDS] }, `pg_hba.conf rejects connection for ${origin}`],
    [
      'RDS of a role without rds_iam',
      {
        provider: 'rds',
        hosts: [RDS],
        principals: [{ accessKeyId: 'A', secretAccessKey: 's', roles: ['report'] }],
      },
      `no pg_hba.conf entry for ${origin}`,
    ],
    [
      'a PostgreSQL with passwords',
      { provider: 'password', hosts: [PLAIN], users: { app: 'x' }, method: 'cleartext' },
      `no pg_hba.conf entry for ${origin}`,
    ],
    [
      'a PostgreSQL that asks for nothing',
      { provider: 'none', hosts: [OPEN] },
      `no pg_hba.conf entry for ${origin}`,
    ],
  ])('gets the error of %s', async (_what, endpoint, message) => {
    const own = await server.start({ endpoints: [endpoint], logger: log.logger })
    expect(await answerTo(own, own.port, 'app')).toMatchObject({
      S: 'FATAL',
      C: '28000',
      M: message,
    })
    expect((await log.refusal('tls-required')).details).toMatchObject({
      role: 'app',
      database: 'postgres',
    })
  })

  it('gets the error of the first endpoint on a shared listener', async () => {
    const gateway = await server.start({ endpoints: ENDPOINTS })
    expect((await answerTo(gateway, gateway.port, 'app'))['M']).toMatch(/TLS is required/)
    const { port } = gateway.endpoints[2]!
    expect((await answerTo(gateway, port, 'app'))['M']).toMatch(/^no pg_hba\.conf entry/)
  })
})

import { Client } from 'pg'
import { startGateway } from '../../../gateway/index.js'
import { errorFields, loggedIn, query } from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { withClient } from './checks/gateway-clients.js'
import { cuttableUpstream, type CuttableUpstream } from './cuttable-upstream.js'

const postgres = usePostgres()
let upstream: CuttableUpstream
beforeEach(async () => {
  upstream = await cuttableUpstream(postgres.server())
})
afterEach(() => upstream.close())

const LOST = { S: 'FATAL', C: '57P01' }
/** Type, length, number of columns, length of the first column. */
const DATA_ROW_HEADER = 11

describe('a session with a lost PostgreSQL server', () => {
  it('sends an error to an idle client, and closes', async () => {
    const gateway = await postgres.start({ upstream: upstream.address })
    const client = await loggedIn(gateway)
    upstream.cut()
    expect(errorFields(await client.next('E'))).toMatchObject(LOST)
    expect(await client.ended()).toEqual([])
  })

  it('sends an error during a query, and closes', async () => {
    const gateway = await postgres.start({ upstream: upstream.address })
    const client = await loggedIn(gateway)
    upstream.cutAt(Buffer.from('cut here'), -DATA_ROW_HEADER)
    client.send(query(`select 1 as one; select 'cut here' as t`))
    const last = await client.next('E')
    expect(errorFields(last)).toMatchObject(LOST)
    expect(await client.ended()).toEqual([])
  })

  it('closes without an error within a message', async () => {
    const gateway = await postgres.start({ upstream: upstream.address })
    const client = await loggedIn(gateway)
    upstream.cutAt(Buffer.from('cut here'), 3)
    client.send(query(`select 'cut here' as t`))
    expect((await client.ended()).map(({ type }) => type)).toEqual(['T'])
  })

  it('forwards the error of a server that shuts down, without another one', async () => {
    const gateway = await postgres.start()
    const client = await loggedIn(gateway)
    client.send(query('select pg_backend_pid() as pid'))
    const pid = (await client.next('D')).body.toString('latin1', 6)
    await client.next('Z')
    const { socketDirectory: host, port, superuser: user } = postgres.server()
    const admin = new Client({ host, port, user, database: 'postgres' })
    await admin.connect()
    await admin.query('select pg_terminate_backend($1)', [pid])
    await admin.end()
    const fields = errorFields(await client.next('E'))
    expect(fields).toMatchObject({
      ...LOST,
      M: 'terminating connection due to administrator command',
    })
    expect(await client.ended()).toEqual([])
  })

  it('does not affect later clients of the gateway', async () => {
    const gateway = await postgres.start({ upstream: upstream.address })
    const client = await loggedIn(gateway)
    upstream.cut()
    await client.ended()
    const rows = await withClient(
      gateway,
      async (next) => (await next.query('select 1 as one')).rows,
    )
    expect(rows).toEqual([{ one: 1 }])
  })
})

describe('an unreachable PostgreSQL server', () => {
  it('causes a login error while it is unreachable', async () => {
    const log = recordLog()
    const gateway = await startGateway({
      sql: 'postgres',
      upstream: upstream.address,
      logger: log.logger,
    })
    await upstream.close()
    const attempt = withClient(gateway, (client) => client.query('select 1'))
    await expect(attempt).rejects.toMatchObject({ severity: 'FATAL', code: '08006' })
    expect(await log.refusal('engine-refused')).toMatchObject({ level: 'warn' })
    await gateway.close()
    upstream = await cuttableUpstream(postgres.server())
  })

  it('makes startGateway reject', async () => {
    await upstream.close()
    const { address } = upstream
    const attempt = startGateway({ sql: 'postgres', upstream: address })
    await expect(attempt).rejects.toMatchObject({
      code: 'ERR_GATEWAY_ENGINE',
      retryable: true,
      cause: { code: 'ENOENT' },
    })
    upstream = await cuttableUpstream(postgres.server())
  })
})

import { connect as connectTcp } from 'node:net'
import { Client } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { int32 } from '../../wire/frontend-messages.js'
import { errorFields, openTls, password, query, startup } from '../raw-client.js'
import {
  APP,
  currentUser,
  DSQL,
  ENDPOINTS,
  OPEN,
  OTHER_RDS,
  PLAIN,
  RDS,
} from '../several-endpoints.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

const server = usePostgres()
const log = recordLog()

let gateway: Gateway
beforeAll(async () => {
  gateway = await server.start({ logger: log.logger, endpoints: ENDPOINTS })
})

describe('a gateway with several endpoints', () => {
  it('lists its endpoints with their hosts and ports', () => {
    const { port } = gateway
    expect(gateway.endpoints).toEqual([
      { provider: 'aurora-dsql', hosts: [DSQL], port },
      { provider: 'rds', hosts: [RDS, OTHER_RDS], port },
      { provider: 'password', hosts: [PLAIN], port: expect.any(Number) as number },
      { provider: 'none', hosts: [OPEN], port },
    ])
    expect(gateway.endpoints[2]!.port).not.toBe(port)
    expect(gateway.clusters).toEqual([DSQL])
  })

  it.each([
    ['aurora-dsql', { host: DSQL }],
    ['rds', { host: RDS }],
    ['rds', { host: OTHER_RDS.toUpperCase() }],
    ['custom', { host: PLAIN }],
  ])('creates accepted logins of provider %s for %p', async (provider, options) => {
    const before = gateway.stats()
    expect(gateway.login(options)).toMatchObject({ provider, user: 'app' })
    expect(await currentUser(gateway, options)).toBe('app')
    expect(gateway.stats().loginsAccepted).toBe(before.loginsAccepted + 1)
  })

  it('creates a login for the first endpoint if no host is given', () => {
    expect(gateway.login()).toMatchObject({ provider: 'aurora-dsql', host: DSQL })
  })

  it('accepts every role at an endpoint without authentication', async () => {
    const client = await openTls(gateway, { servername: OPEN })
    client.send(startup(APP))
    await client.next('Z')
    client.socket.destroy()
    const { details } = await log.line('gateway: accepted a login')
    expect(details).toMatchObject({ provider: expect.any(String) as string })
  })

  it('refuses the token of another provider', async () => {
    const cases = [
      [DSQL, RDS, 'token-malformed', '08006'],
      [RDS, DSQL, 'token-malformed', '28000'],
    ] as const
    for (const [dialled, signedFor, reason, code] of cases) {
      const client = await openTls(gateway, { servername: dialled })
      const token = await gateway.login({ host: signedFor }).password()
      client.send(startup(APP), password(token))
      expect(errorFields(await client.next('E'))).toMatchObject({ C: code })
      await client.ended()
      await log.refusal(reason)
    }
  })

  it.each([
    ['unknown', 'localhost'],
    ['that of an endpoint with a separate listener', PLAIN],
    ['missing', ''],
  ])('refuses a client whose server name is %s', async (_what, servername) => {
    const host = servername === '' ? { host: gateway.host } : {}
    const client = await openTls(gateway, { servername, ...host })
    client.send(startup(APP))
    const fields = errorFields(await client.next('E'))
    expect(fields).toMatchObject({ S: 'FATAL', C: '08004' })
    expect(fields['H']).toContain('"listen"')
    await client.ended()
    await log.refusal('endpoint-unnamed')
  })

  it('accepts any server name on the separate listener of an endpoint', async () => {
    const { port } = gateway.endpoints[2]!
    for (const servername of [PLAIN, 'localhost', RDS]) {
      const client = new Client({
        host: gateway.host,
        port,
        ...APP,
        password: 'secret',
        ssl: { ca: gateway.ca, servername },
      })
      await client.connect()
      await client.end()
    }
  })

  it.each([
    ['role-unknown', { ...APP, user: 'ghost' }, '28000', 'role "ghost" does not exist'],
    ['database-unknown', { ...APP, database: 'x' }, '3D000', 'database "x" does not exist'],
  ])(
    'refuses (%s) a role or a database that does not exist',
    async (reason, parameters, code, message) => {
      const client = await openTls(gateway, { servername: OPEN })
      client.send(startup(parameters))
      expect(errorFields(await client.next('E'))).toMatchObject({ C: code, M: message })
      await client.ended()
      await log.refusal(reason)
    },
  )

  it('cancels queries on each listener', async () => {
    const { port } = gateway.endpoints[2]!
    const client = await openTls(gateway, { servername: OPEN })
    client.send(startup(APP))
    const { body: key } = await client.next('K')
    await client.next('Z')
    client.send(query('select pg_sleep(600)'))
    await untilSleeping()
    const socket = connectTcp({ host: gateway.host, port })
    socket.resume().write(Buffer.concat([int32(16), int32(80_877_102), key]))
    expect(errorFields(await client.next('E'))).toMatchObject({ C: '57014' })
    client.socket.destroy()
  })

  it('applies faults to each endpoint', async () => {
    for (const { provider, hosts } of gateway.endpoints) {
      gateway.faults.rejectLogins({ sqlState: '53400', message: `not ${provider}` })
      const { port } = gateway.endpoints.find((each) => each.provider === provider)!
      const client = await openTls({ ...gateway, port }, { servername: hosts[0]! })
      client.send(startup(APP))
      expect(errorFields(await client.next('E'))).toMatchObject({
        C: '53400',
        M: `not ${provider}`,
      })
      await client.ended()
      await log.refusal('fault')
    }
  })

  it('applies stalled and cut logins to each endpoint, even without authentication', async () => {
    const release = gateway.faults.stallLogins({ times: 1 })
    const stalled = await openTls(gateway, { servername: OPEN })
    stalled.send(startup(APP))
    gateway.faults.cut({ at: 'authentication', times: 1 })
    release()
    expect(await stalled.ended()).toEqual([])
    await log.refusal('fault')
  })

  it('counts the logins of all endpoints together', async () => {
    const own = await server.start({ endpoints: ENDPOINTS })
    await currentUser(own, { host: DSQL })
    await currentUser(own, { host: RDS })
    await currentUser(own, { host: PLAIN })
    await expect(
      currentUser(own, { host: PLAIN, getToken: () => 'wrong', reuseTokenSecs: 0 }),
    ).rejects.toMatchObject({
      code: '28P01',
    })
    expect(own.stats()).toMatchObject({
      loginsAccepted: 3,
      loginsRefused: 1,
      refusals: { 'password-wrong': 1 },
      distinctTokens: 2,
    })
  })
})

/** Resolves when the server runs the only query that sleeps. */
async function untilSleeping(): Promise<void> {
  const { socketDirectory, port, superuser } = server.server()
  const client = new Client({ host: socketDirectory, port, user: superuser, database: 'postgres' })
  await client.connect()
  for (let seen = 0; seen === 0;) {
    const { rowCount } = await client.query(
      `select from pg_stat_activity where query like '%pg_sleep(600)%' and wait_event = 'PgSleep'`,
    )
    seen = rowCount ?? 0
  }
  await client.end()
}

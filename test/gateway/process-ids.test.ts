import { once } from 'node:events'
import knex from 'knex'
import { Client, type Notification } from 'pg'
import { knexConfig } from '../../adapters/knex.js'
import { createCancelKeys } from '../../gateway/connection/relay.js'
import type { Gateway } from '../../gateway/index.js'
import { eventually } from '../support/eventually.js'
import { pgSettings } from './engines/checks/gateway-clients.js'
import { openPlain } from './raw-client.js'
import { recordLog, usePostgres } from './upstream-gateway.js'
import { int32 } from '../wire/frontend-messages.js'

type Connected = Client & { processID: number; secretKey: number }

const postgres = usePostgres()
const log = recordLog()
let gateway: Gateway
const clients: Client[] = []

beforeAll(async () => {
  gateway = await postgres.start({ logger: log.logger })
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()))
})

async function connect(own: Gateway = gateway): Promise<Connected> {
  const client = new Client(pgSettings(own)) as Connected
  client.on('error', () => {})
  await client.connect()
  clients.push(client)
  return client
}

async function pidOf(client: Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]!.pid
}

const sleeping = (client: Client): Promise<unknown> =>
  client.query('select pg_sleep(60)').catch((error: unknown) => error)

async function untilActive(pid: number): Promise<void> {
  const { socketDirectory: host, port, superuser: user } = postgres.server()
  const admin = new Client({ host, port, user, database: 'postgres' })
  await admin.connect()
  const text = `select 1 from pg_stat_activity where pid = $1 and state = 'active' and wait_event = 'PgSleep'`
  await eventually(
    'the statement to run',
    async () => (await admin.query(text, [pid])).rowCount === 1,
  )
  await admin.end()
}

describe('the process ID of a session', () => {
  it('is the same for the client, SQL, the log and faults', async () => {
    const client = await connect()
    expect(await pidOf(client)).toBe(client.processID)
    const line = await log.line('gateway: accepted a login')
    expect(line.details).toMatchObject({ processId: client.processID })
    const sessions = gateway.faults.sessions().map(({ processId }) => processId)
    expect(sessions).toEqual([client.processID])
    const ended = once(client, 'error')
    expect(gateway.faults.killSession(await pidOf(client))).toBe(true)
    expect((await ended)[0]).toMatchObject({ code: '57P01' })
    const end = await log.line('gateway: a session ended')
    expect(end.details).toMatchObject({ processId: client.processID })
  })

  it('lets a client distinguish its own notifications from those of others', async () => {
    const [one, two] = [await connect(), await connect()]
    const received: Notification[] = []
    two.on('notification', (notification) => received.push(notification))
    await two.query('listen x')
    await one.query('notify x')
    await two.query('notify x')
    await eventually('both notifications', () => received.length === 2)
    expect(received.map(({ processId }) => processId)).toEqual([one.processID, two.processID])
  })

  it('is accepted by pg_cancel_backend and pg_terminate_backend', async () => {
    const [one, two] = [await connect(), await connect()]
    const cancelled = sleeping(one)
    await untilActive(one.processID)
    const yes = [{ done: true }]
    expect((await two.query('select pg_cancel_backend($1) as done', [one.processID])).rows).toEqual(
      yes,
    )
    expect(await cancelled).toMatchObject({ code: '57014' })
    const terminated = sleeping(one)
    await untilActive(one.processID)
    expect(
      (await two.query('select pg_terminate_backend($1) as done', [one.processID])).rows,
    ).toEqual(yes)
    expect(await terminated).toMatchObject({ code: '57P01' })
  })

  it('is used in cancel requests, with a secret key that is valid for this session only', async () => {
    const client = await connect()
    const cancelled = sleeping(client)
    await untilActive(client.processID)
    const request = async (secretKey: number): Promise<void> => {
      const socket = await openPlain(gateway)
      const words = [16, 80_877_102, client.processID, secretKey].map((word) => int32(word | 0))
      socket.resume().write(Buffer.concat(words))
      await once(socket, 'close')
    }
    await request(client.secretKey ^ 1)
    expect(gateway.stats()).toMatchObject({ cancelRequests: 1, cancelsDelivered: 0 })
    // Only one connection to the server at a time, for any number of requests.
    await Promise.all(Array.from({ length: 100 }, () => request(client.secretKey)))
    expect(await cancelled).toMatchObject({ code: '57014' })
    expect(gateway.stats()).toMatchObject({ cancelRequests: 101, cancelsDelivered: 100 })
  })

  it('makes the timeout of Knex cancel its query', async () => {
    const db = knex(knexConfig(gateway.login({ user: 'app' })))
    try {
      const query = db.raw('select pg_sleep(61)').timeout(300, { cancel: true })
      await expect(query).rejects.toMatchObject({ name: 'KnexTimeoutError' })
      const { rows } = (await db.raw(
        `select count(*)::int as count from pg_stat_activity where state = 'active' and query = 'select pg_sleep(61)'`,
      )) as { rows: unknown[] }
      expect(rows).toEqual([{ count: 0 }])
    } finally {
      await db.destroy()
    }
  })
})

describe('process IDs that several sessions share, as with several upstream servers,', () => {
  it('are distinguished by their secret keys', () => {
    const keys = createCancelKeys()
    const cancelled: string[] = []
    const one = keys.issue(7, () => cancelled.push('one'))
    const two = keys.issue(7, () => cancelled.push('two'))
    expect(keys.cancel(7, two.secretKey)).toBe(true)
    expect(keys.cancel(7, one.secretKey)).toBe(true)
    expect(cancelled).toEqual(['two', 'one'])
    one.release()
    expect(keys.cancel(7, one.secretKey)).toBe(false)
    expect(keys.cancel(7, two.secretKey)).toBe(true)
    two.release()
    const three = keys.issue(7, () => cancelled.push('three'))
    two.release()
    expect(keys.cancel(7, three.secretKey)).toBe(true)
  })
})

import { once } from 'node:events'
import { Client } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { eventually } from '../../support/eventually.js'
import { withClient } from '../engines/checks/gateway-clients.js'
import {
  errorFields,
  loggedIn,
  openPlain,
  openTls,
  password,
  query,
  type RawClient,
  startup,
} from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { frontend, int32, text } from '../../wire/frontend-messages.js'
import { TESTED_ENGINES } from '../engines/checks/tested-engines.js'

const APP = { user: 'app', database: 'postgres' }
const MEGABYTE = 1_048_576
const postgres = usePostgres()

/** The beginning of a Query of this length, with this number of bytes. */
function halfQuery(announced: number, sent: number): Buffer {
  return Buffer.concat([Buffer.from('Q'), int32(announced), Buffer.alloc(sent, ' ')])
}

/** Resolves when the gateway has read all sent bytes. */
async function sendAll(client: RawClient, bytes: Buffer): Promise<void> {
  await new Promise((resolve) => client.socket.write(bytes, resolve))
}

async function answers(client: RawClient): Promise<void> {
  client.send(query('select 1'))
  await client.next('Z')
}

async function memoryOf(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage()
  await work()
  const after = process.memoryUsage()
  return after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
}

describe.each(TESTED_ENGINES)('client input that the engine does not read, on %s,', (engine) => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await postgres.start({
      maxBufferedBytes: 8 * MEGABYTE,
      ...(engine === 'pglite' && { engine, upstream: undefined as never }),
    })
  })

  it('is refused immediately if one message is longer than "maxBufferedBytes"', async () => {
    const client = await loggedIn(gateway)
    await sendAll(client, halfQuery(9 * MEGABYTE, 1))
    expect(errorFields(await client.next('E'))).toMatchObject({
      S: 'FATAL',
      C: '54000',
      M: expect.stringContaining('"maxBufferedBytes"') as string,
      H: expect.stringContaining('Raise the "maxBufferedBytes" option') as string,
    })
    expect(await client.ended()).toEqual([])
  })

  it('causes an error that the client receives even if it continues to send', async () => {
    const client = await loggedIn(gateway)
    client.send(frontend('Q', Buffer.alloc(30 * MEGABYTE, ' '), text('')))
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '54000' })
  })

  it('ends the client that buffers most if the total is exceeded, and no other', async () => {
    const small = await loggedIn(gateway)
    await sendAll(small, halfQuery(2 * MEGABYTE, 1_000))
    const large = await loggedIn(gateway)
    await sendAll(large, halfQuery(7 * MEGABYTE, 5 * MEGABYTE))
    const others = await Promise.all(Array.from({ length: 3 }, () => loggedIn(gateway)))
    for (const other of others) await sendAll(other, halfQuery(3 * MEGABYTE, 2 * MEGABYTE))
    const fields = errorFields(await large.next('E'))
    expect(fields).toMatchObject({
      S: 'FATAL',
      C: '53200',
      M: expect.stringContaining('"maxBufferedBytes"') as string,
    })
    expect(await large.ended()).toEqual([])
    // The remaining clients can complete their messages.
    const end = Buffer.concat([Buffer.alloc(2 * MEGABYTE - 4 - 1_000 - 1, ' '), text('')])
    await sendAll(small, end)
    await small.next('Z')
    await answers(small)
    for (const client of [small, ...others]) client.socket.destroy()
    await eventually('the sessions to end', () => gateway.stats().sessionsOpen === 0)
  })

  it('is removed from the total when the engine has read it', async () => {
    await withClient(gateway, async (client) => {
      const large = 'x'.repeat(5 * MEGABYTE)
      for (let i = 0; i < 5; i++) {
        const { rows } = await client.query('select length($1::text) as length', [large])
        expect(rows).toEqual([{ length: large.length }])
      }
    })
    const client = await loggedIn(gateway)
    await sendAll(client, halfQuery(8 * MEGABYTE - 1, 7 * MEGABYTE))
    await answersElsewhere(gateway)
    client.socket.destroy()
  })
})

async function answersElsewhere(gateway: Gateway): Promise<void> {
  const client = await loggedIn(gateway)
  await answers(client)
  client.socket.destroy()
}

describe('a slow or misbehaving client', () => {
  it('that does not read its replies causes only limited buffering', async () => {
    const gateway = await postgres.start()
    const client = await loggedIn(gateway)
    const grown = await memoryOf(async () => {
      client.socket.pause()
      client.send(query(`select repeat('x', 1000000) from generate_series(1, 200)`))
      const { socketDirectory: host, port, superuser: user } = postgres.server()
      const admin = new Client({ host, port, user, database: 'postgres' })
      await admin.connect()
      await eventually('PostgreSQL to wait for the gateway', async () => {
        const { rowCount } = await admin.query(
          `select from pg_stat_activity where usename = 'app' and wait_event = 'ClientWrite'`,
        )
        return rowCount === 1
      })
      await admin.end()
    })
    expect(grown).toBeLessThan(50_000_000)
    await answersElsewhere(gateway)
    client.socket.resume()
    await client.next('Z')
    client.socket.destroy()
  })

  it('that does not read its replies can be terminated', async () => {
    const gateway = await postgres.start()
    const client = await loggedIn(gateway)
    client.socket.pause()
    client.send(query(`select repeat('x', 1000000) from generate_series(1, 200)`))
    const [session] = gateway.faults.sessions()
    expect(gateway.faults.killSession(session!.processId)).toBe(true)
    await eventually('the session to end', () => gateway.stats().sessionsOpen === 0)
    client.socket.destroy()
  })

  it('that continues to send after it was refused is disconnected', async () => {
    const gateway = await postgres.start()
    const client = await loggedIn(gateway)
    const closed = once(client.socket, 'close')
    client.send(Buffer.from('!\0\0\0\x04', 'latin1'))
    expect(errorFields(await client.next('E'))).toMatchObject({ C: '08P01' })
    const sending = setInterval(() => client.socket.write(Buffer.alloc(1_000)), 5)
    await closed
    clearInterval(sending)
    await eventually('the session to end', () => gateway.stats().sessionsOpen === 0)
  })
})

it('a password message of more than 64 kB is refused before it is read', async () => {
  const gateway = await postgres.start()
  const client = await openTls(gateway)
  client.send(startup(APP))
  await client.next('R')
  client.send(Buffer.concat([Buffer.from('p'), int32(1_000_000_000)]))
  expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '08P01' })
  expect(await client.ended()).toEqual([])
})

it('clients that disconnect at any point leave nothing behind', async () => {
  const log = recordLog()
  const gateway = await postgres.start({ logger: log.logger })
  const token = await gateway.login({ user: 'app' }).password()
  const phases: ((client: RawClient) => Promise<void>)[] = [
    async () => {},
    async (client) => client.send(startup(APP).subarray(0, 10)),
    async (client) => client.send(startup(APP)),
    async (client) => client.send(startup(APP), password(token).subarray(0, 40)),
    async (client) => client.send(startup(APP), password(token)),
    async (client) => {
      client.send(startup(APP), password(token))
      await client.next('Z')
      client.send(halfQuery(MEGABYTE, 100_000))
    },
    async (client) => {
      client.send(startup(APP), password(token))
      await client.next('Z')
      client.send(query('select pg_sleep(60)'), query('select 1'))
    },
    async (client) => {
      client.send(startup(APP), password(token))
      await client.next('Z')
      client.socket.pause()
      client.send(query(`select repeat('x', 1000000) from generate_series(1, 20)`))
    },
  ]
  for (let round = 0; round < 5; round++) {
    const clients = await Promise.all(phases.map(() => openTls(gateway)))
    await Promise.all(clients.map((client, index) => phases[index]!(client)))
    const plain = await openPlain(gateway)
    for (const socket of [plain, ...clients.map((client) => client.socket)]) socket.destroy()
  }
  const { socketDirectory: host, port, superuser: user } = postgres.server()
  const admin = new Client({ host, port, user, database: 'postgres' })
  await admin.connect()
  await eventually('all sessions to end', async () => {
    const statement = `select pg_cancel_backend(pid) from pg_stat_activity where usename = 'app'`
    return (await admin.query(statement)).rowCount === 0
  })
  await admin.end()
  await eventually('all connections to end', () => {
    const { connectionsOpen, sessionsOpen } = gateway.stats()
    return connectionsOpen === 0 && sessionsOpen === 0
  })
  expect(log.lines.filter(({ level }) => level === 'error')).toEqual([])
  await answersElsewhere(gateway)
})

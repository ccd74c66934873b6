import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import type { Gateway } from '../../../gateway/index.js'
import { frontend, int32, text } from '../../wire/frontend-messages.js'
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

const postgres = usePostgres()
const log = recordLog()
let gateway: Gateway
beforeAll(async () => {
  gateway = await postgres.start({ logger: log.logger })
})

/** Resolves when the condition holds `times` times in a row for the only other backend that runs `marker`. */
async function untilBackend(marker: string, condition: string, times = 1): Promise<void> {
  await withClient(gateway, async (client) => {
    for (let seen = 0; seen < times;) {
      const { rowCount } = await client.query(
        `select from pg_stat_activity where pid <> pg_backend_pid() and query like $1 and ${condition}`,
        [`%${marker}%`],
      )
      seen = rowCount === 1 ? seen + 1 : 0
    }
  })
}

describe('a relayed session', () => {
  const cases: [what: string, bytes: Buffer][] = [
    ['an unknown message type', frontend('!', text('x'))],
    ['a password', frontend('p', text('x'))],
    ['a message that is cut short', frontend('B', text(''), text(''))],
    ['a length of 2 GB', Buffer.concat([Buffer.from('Q'), int32(0x7fff_ffff)])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ]
  it.each(cases)('ends with an error after %s, and rolls back', async (_what, bytes) => {
    await withClient(gateway, (client) =>
      client.query('create table if not exists violated (v int)'),
    )
    const client = await loggedIn(gateway)
    client.send(query('begin; insert into violated values (1)'))
    await client.next('Z')
    client.send(bytes)
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '08P01' })
    expect(await client.ended()).toEqual([])
    await withClient(gateway, async (other) => {
      await other.query('alter table violated add column if not exists w int')
      expect((await other.query('select * from violated')).rows).toEqual([])
    })
  })

  it('accepts a parameter of 100 MB', () =>
    withClient(gateway, async (client) => {
      const bytes = Buffer.alloc(100_000_000, 7)
      const { rows } = await client.query('select length($1::bytea) as n, sha256($1::bytea) as h', [
        bytes,
      ])
      expect(rows[0]).toMatchObject({ n: 100_000_000 })
    }))

  it('makes the server wait if the client does not read', async () => {
    const client = await loggedIn(gateway)
    client.socket.pause()
    const megabytes = 100
    client.send(
      query(`select repeat('x', 1048576) as slow_reader from generate_series(1, ${megabytes})`),
    )
    // The server waits occasionally while the client reads, and permanently while it does not.
    await untilBackend('slow_reader', `wait_event = 'ClientWrite'`, 500)
    client.socket.resume()
    let rows = 0
    while ((await client.next('D', 'C')).type === 'D') rows++
    expect(rows).toBe(megabytes)
    client.socket.destroy()
  })

  it('makes the client wait if the server does not read', () =>
    withClient(gateway, async (holder) => {
      await holder.query('select pg_advisory_lock(4711)')
      const client = await loggedIn(gateway)
      client.send(query('select pg_advisory_lock(4711) as slow_server'))
      const filler = query(`select length('${'x'.repeat(1_048_000)}') as n`)
      for (let count = 0; count < 64; count++) client.send(filler)
      await untilBackend('slow_server', `wait_event = 'advisory'`)
      for (let round = 0; round < 200; round++) await holder.query('select 1')
      expect(client.socket.writableLength).toBeGreaterThan(16 * 1_048_576)
      await holder.query('select pg_advisory_unlock(4711)')
      for (let count = 0; count < 65; count++) await client.next('Z')
      client.socket.destroy()
    }))

  it('delivers notifications', () =>
    withClient(gateway, async (listener) => {
      const heard = once(listener, 'notification')
      await listener.query('listen channel_one')
      await withClient(gateway, (client) => client.query(`notify channel_one, 'hello'`))
      expect((await heard)[0]).toMatchObject({ channel: 'channel_one', payload: 'hello' })
    }))
})

/** A client during a query, and the key to cancel it. */
async function sleeping(): Promise<{ client: RawClient; key: Buffer }> {
  const client = await openTls(gateway)
  client.send(
    Buffer.concat([
      startup({ user: 'app', database: 'postgres' }),
      password(await gateway.login().password()),
    ]),
  )
  const { body: key } = await client.next('K')
  // The key of the upstream server would be of no use to a client.
  expect((await client.next('K', 'Z')).type).toBe('Z')
  client.send(query('select pg_sleep(600)'))
  await untilBackend('pg_sleep', `wait_event = 'PgSleep'`)
  return { client, key }
}
function cancelRequest(key: Buffer): Buffer {
  return Buffer.concat([int32(16), int32(80_877_102), key])
}

describe('a cancel request', () => {
  it('over plain TCP cancels the query of its session, and no other', async () => {
    const { client, key } = await sleeping()
    const before = gateway.stats()
    const socket = await openPlain(gateway)
    socket.resume().write(cancelRequest(key))
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'ERROR', C: '57014' })
    await client.next('Z')
    client.send(query('select 5'))
    expect((await client.next('D')).body.toString('latin1', 6)).toBe('5')
    expect(gateway.stats()).toMatchObject({
      cancelRequests: before.cancelRequests + 1,
      cancelsDelivered: before.cancelsDelivered + 1,
      loginsRefused: before.loginsRefused,
    })
    client.socket.destroy()
  })

  it('over TLS cancels the query of its session', async () => {
    const { client, key } = await sleeping()
    const canceller = await openTls(gateway)
    canceller.send(cancelRequest(key))
    expect(await canceller.ended()).toEqual([])
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'ERROR', C: '57014' })
    client.socket.destroy()
  })

  it('with a wrong key has no effect and gets no response', async () => {
    const before = gateway.stats()
    const { client, key: right } = await sleeping()
    const almost = Buffer.from(right)
    almost[7]! ^= 1
    for (const key of [
      almost,
      Buffer.alloc(8),
      Buffer.alloc(8, 0xff),
      Buffer.concat([int32(1), int32(1)]),
    ]) {
      const socket = connectTcp({ host: gateway.host, port: gateway.port })
      const answer: Buffer[] = []
      socket.on('data', (chunk: Buffer) => answer.push(chunk))
      socket.write(cancelRequest(key))
      await once(socket, 'close')
      expect(answer).toEqual([])
    }
    expect(gateway.stats()).toMatchObject({
      cancelRequests: before.cancelRequests + 4,
      cancelsDelivered: before.cancelsDelivered,
    })
    const socket = await openPlain(gateway)
    socket.resume().write(cancelRequest(right))
    expect(errorFields(await client.next('E'))).toMatchObject({ C: '57014' })
    client.socket.destroy()
  })
})

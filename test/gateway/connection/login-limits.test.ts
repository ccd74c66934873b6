import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Client } from 'pg'
import { sslRequestPacket } from '../../../wire/startup.js'
import { eventually } from '../../support/eventually.js'
import {
  errorFields,
  loggedIn,
  openPlain,
  openTls,
  password,
  query,
  startup,
} from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

const postgres = usePostgres()
const APP = { user: 'app', database: 'postgres' }

describe('a slow login', () => {
  it('is ended after "loginTimeoutMs" at each stage', async () => {
    const log = recordLog()
    const gateway = await postgres.start({ logger: log.logger, loginTimeoutMs: 2_000 })
    const beforeFirstByte = async (): Promise<void> => {
      const socket = await openPlain(gateway)
      await once(socket.resume(), 'close')
    }
    const beforeTls = async (): Promise<void> => {
      const socket = await openPlain(gateway)
      socket.resume().write(sslRequestPacket())
      await once(socket, 'close')
    }
    const beforePassword = async (): Promise<void> => {
      const client = await openTls(gateway)
      client.send(startup(APP))
      expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '57014' })
      expect(await client.ended()).toEqual([])
    }
    await Promise.all([beforeFirstByte(), beforeTls(), beforePassword()])
    expect(gateway.stats().refusals).toEqual({ 'login-timeout': 3 })
  })
})

describe('a login that exceeds "maxConnections"', () => {
  it('gets an error, and other sessions continue', async () => {
    const gateway = await postgres.start({ maxConnections: 1 })
    const first = await loggedIn(gateway)
    const second = await openTls(gateway)
    second.send(startup(APP))
    expect(errorFields(await second.next('E'))).toMatchObject({ S: 'FATAL', C: '53300' })
    await second.ended()
    first.send(query('select 1'))
    await first.next('Z')
    expect(gateway.stats().refusals).toEqual({ 'too-many-connections': 1 })
    first.socket.destroy()
  })

  it('gets the error after its token if the limit was reached meanwhile, and releases its place', async () => {
    const gateway = await postgres.start({ maxConnections: 1 })
    const token = await gateway.login({ user: 'app' }).password()
    const late = await openTls(gateway)
    late.send(startup(APP))
    await late.next('R')
    const first = await loggedIn(gateway)
    late.send(password(token))
    expect(errorFields(await late.next('E'))).toMatchObject({ S: 'FATAL', C: '53300' })
    first.socket.destroy()
    await eventually('the session to end', () => gateway.stats().sessionsOpen === 0)
    const next = await loggedIn(gateway)
    next.socket.destroy()
  })
})

describe('connections that have not logged in', () => {
  it('do not count as sessions, and the oldest is closed if there are more than "maxPendingLogins"', async () => {
    const log = recordLog()
    const gateway = await postgres.start({
      maxConnections: 1,
      maxPendingLogins: 5,
      loginTimeoutMs: 600_000,
      logger: log.logger,
    })
    const silent = await Promise.all(Array.from({ length: 50 }, () => openPlain(gateway)))
    const closed = silent.map((socket) => once(socket.resume(), 'close'))
    const client = await loggedIn(gateway)
    client.send(query('select 1'))
    await client.next('Z')
    await Promise.any(closed)
    expect(await log.refusal('too-many-logins')).toMatchObject({ level: 'warn' })
    // One of the five was the client, until it had logged in.
    await eventually('the last of them to be left', () => gateway.stats().connectionsOpen === 5)
    for (const socket of silent) socket.destroy()
    client.socket.destroy()
  })

  it('get an error if they have sent a startup packet', async () => {
    const gateway = await postgres.start({ maxPendingLogins: 1 })
    const pushedOut = await openTls(gateway)
    pushedOut.send(startup(APP))
    await pushedOut.next('R')
    const next = await openTls(gateway)
    const fields = errorFields(await pushedOut.next('E'))
    expect(fields).toMatchObject({ S: 'FATAL', C: '53300' })
    expect(await pushedOut.ended()).toEqual([])
    next.socket.destroy()
  })

  it('do not cause connections to the upstream PostgreSQL at any stage of the login', async () => {
    const gateway = await postgres.start({ loginTimeoutMs: 600_000 })
    const backends = async (): Promise<number> => {
      const { socketDirectory: host, port, superuser: user } = postgres.server()
      const admin = new Client({ host, port, user, database: 'postgres' })
      await admin.connect()
      const { rows } = await admin.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where backend_type = 'client backend'`,
      )
      await admin.end()
      return rows[0]!.count
    }
    const askTls = async (): Promise<Socket> => {
      const socket = await openPlain(gateway)
      socket.write(sslRequestPacket())
      await once(socket, 'data')
      return socket
    }
    const askLogin = async (): Promise<Socket> => {
      const client = await openTls(gateway)
      client.send(startup(APP))
      await client.next('R')
      return client.socket
    }
    // The server allows 200 connections.
    const asking = await Promise.all(
      Array.from({ length: 260 }, (_, i) => (i % 8 ? askTls() : askLogin())),
    )
    await eventually('none but our own to be there', async () => (await backends()) === 1)
    const client = await loggedIn(gateway)
    expect(await backends()).toBe(2)
    for (const socket of asking) socket.destroy()
    client.socket.destroy()
  })
})

describe('a client that disconnects during its login', () => {
  it('is logged as disconnected, and not counted as refused', async () => {
    const log = recordLog()
    const gateway = await postgres.start({ logger: log.logger })
    const left = 'gateway: a client disconnected during its login'

    const plain = await openPlain(gateway)
    plain.destroy()
    await log.line(left)
    const secured = await openTls(gateway)
    secured.socket.end()
    await log.line(left)
    const asked = await openTls(gateway)
    asked.send(startup(APP))
    await asked.next('R')
    asked.socket.destroy()
    await log.line(left)
    const half = await openTls(gateway)
    half.send(startup(APP), password('x'.repeat(100)).subarray(0, 50))
    await half.next('R')
    half.socket.destroy()
    await log.line(left)

    await gateway.close()
    expect(gateway.stats()).toMatchObject({ connectionsOpen: 0, loginsRefused: 0, refusals: {} })
    expect(log.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
  })
})

import { once } from 'node:events'
import { sslRequestPacket } from '../../../core/wire/startup-packet.js'
import { errorFields, openPlain, openTls, password, startup } from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

const postgres = usePostgres()
const APP = { user: 'app', database: 'postgres' }

describe('a slow login', () => {
  it('is ended after "loginTimeoutMs", wherever it stands', async () => {
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

describe('one connection too many', () => {
  it('is told so, and the others go on', async () => {
    const gateway = await postgres.start({ maxConnections: 1 })
    const first = await openTls(gateway)
    const second = await openTls(gateway)
    second.send(startup(APP))
    expect(errorFields(await second.next('E'))).toMatchObject({ S: 'FATAL', C: '53300' })
    await second.ended()
    first.send(startup(APP), password(await gateway.login().password()))
    await first.next('Z')
    expect(gateway.stats().refusals).toEqual({ 'too-many-connections': 1 })
    first.socket.destroy()
  })
})

describe('a client that goes in the middle of its login', () => {
  it('is noted as gone, and is neither refused nor kept', async () => {
    const log = recordLog()
    const gateway = await postgres.start({ logger: log.logger })
    const left = 'gateway: a client left during its login'

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

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Gateway } from '../../../gateway/index.js'
import { GSSENC_REQUEST, sslRequestPacket } from '../../../wire/startup.js'
import { int32 } from '../../wire/frontend-messages.js'
import {
  errorFields,
  loggedIn,
  openPlain,
  openTls,
  password,
  rawClient,
  secure,
  startup,
} from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

const postgres = usePostgres()
const log = recordLog()
let gateway: Gateway

beforeAll(async () => {
  gateway = await postgres.start({ logger: log.logger })
})

/** Sends bytes without TLS, and returns all received bytes until the gateway closes. */
async function plainAnswer(...bytes: Buffer[]): Promise<Buffer> {
  const socket = await openPlain(gateway)
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  socket.write(Buffer.concat(bytes))
  await once(socket, 'close')
  return Buffer.concat(received)
}

async function logInOver(socket: Socket): Promise<void> {
  const client = rawClient(socket)
  client.send(startup({ user: 'app', database: 'postgres' }))
  client.send(password(await gateway.login().password()))
  await client.next('Z')
  socket.end()
}

const gssRequest = Buffer.concat([int32(8), int32(GSSENC_REQUEST)])

describe('a new connection', () => {
  it('gets TLS after an SSLRequest', async () => {
    const client = await loggedIn(gateway)
    client.socket.destroy()
  })

  it("gets direct TLS with PostgreSQL's ALPN protocol", async () => {
    const socket = await openPlain(gateway)
    await logInOver(await secure(socket, gateway, { ALPNProtocols: ['postgresql'] }))
  })

  it("can use PostgreSQL's ALPN protocol after an SSLRequest too", async () => {
    const client = await openTls(gateway, { ALPNProtocols: ['postgresql'] })
    await logInOver(client.socket)
  })

  it('gets no GSSAPI encryption, and then TLS', async () => {
    const socket = await openPlain(gateway)
    socket.write(gssRequest)
    expect((await once(socket, 'data')).toString()).toBe('N')
    socket.write(sslRequestPacket())
    expect((await once(socket, 'data')).toString()).toBe('S')
    await logInOver(await secure(socket, gateway))
  })

  it('can send its first bytes one by one', async () => {
    const socket = await openPlain(gateway)
    for (const byte of sslRequestPacket()) {
      await new Promise((resolve) => socket.write(Buffer.of(byte), resolve))
    }
    expect((await once(socket, 'data')).toString()).toBe('S')
    await logInOver(await secure(socket, gateway))
  })

  it('gets a certificate for every cluster, for localhost and for the loopback addresses', async () => {
    for (const name of [...gateway.clusters, 'localhost', '127.0.0.1', '::1']) {
      const socket = await openPlain(gateway)
      const host = /^[\d.:]+$/.test(name) ? { host: name, servername: '' } : { servername: name }
      const secured = await secure(socket, gateway, { ALPNProtocols: ['postgresql'], ...host })
      secured.destroy()
    }
  })
})

/** Starts direct TLS, and returns the code of the client's error, if any. */
async function directTlsError(alpn?: string[]): Promise<string | undefined> {
  const socket = await openPlain(gateway)
  const secured = connectTls({
    socket,
    ca: gateway.ca,
    servername: 'localhost',
    ...(alpn && { ALPNProtocols: alpn }),
  })
  const failures: { code?: string }[] = []
  secured.on('error', (error) => failures.push(error))
  await new Promise((resolve) => secured.once('close', resolve))
  return failures[0]?.code
}

describe('the connection is closed', () => {
  it('if direct TLS has no ALPN protocol', async () => {
    await directTlsError()
    expect((await log.refusal('protocol-violation')).message).toMatch(/without the ALPN protocol/)
  })

  it('if TLS has another ALPN protocol', async () => {
    expect(await directTlsError(['h2', 'http/1.1'])).toBe(
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    )
    await log.refusal('tls-failed')
  })

  it('if TLS is older than 1.2', async () => {
    const socket = await openPlain(gateway)
    socket.write(sslRequestPacket())
    await once(socket, 'data')
    const old = {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    } as const
    const secured = connectTls({ socket, ca: gateway.ca, servername: 'localhost', ...old })
    const [error] = (await once(secured, 'error')) as [{ code: string }]
    expect(error.code).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
    await log.refusal('tls-failed')
  })

  it('with an error if the client starts its login without TLS', async () => {
    const answer = await plainAnswer(startup({ user: 'app', database: 'postgres' }))
    expect(answer[0]).toBe('E'.charCodeAt(0))
    expect(errorFields({ type: 'E', body: answer.subarray(5) })).toMatchObject({
      S: 'FATAL',
      C: '28000',
    })
    await log.refusal('tls-required')
  })

  it('if unencrypted data follows the SSLRequest, and the data is not processed', async () => {
    const stuffed = startup({ user: 'app', database: 'postgres' })
    expect(await plainAnswer(sslRequestPacket(), stuffed)).toEqual(Buffer.alloc(0))
    expect((await log.refusal('protocol-violation')).message).toMatch(/unencrypted data/)
  })

  const cases: [what: string, answer: string, bytes: Buffer[]][] = [
    ['HTTP', '', [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')]],
    ['a length of 0', '', [int32(0)]],
    ['a length of 7', '', [int32(7), Buffer.alloc(3)]],
    ['a negative length', '', [int32(-1)]],
    ['a length of 10,001', '', [int32(10_001)]],
    ['a length of 2 GB', '', [int32(0x7fff_ffff)]],
    ['followed by a second GSSENCRequest', 'N', [gssRequest, gssRequest]],
    ['a cancel request that is too short', '', [int32(12), int32(80_877_102), int32(1)]],
    ['a cancel request that is too long', '', [int32(20), int32(80_877_102), Buffer.alloc(12)]],
    ['random bytes', '', [Buffer.from('ff00ff00ff00ff00', 'hex')]],
  ]
  it.each(cases)('if the first packet is %s', async (_what, answer, bytes) => {
    expect((await plainAnswer(...bytes)).toString()).toBe(answer)
    await log.refusal('protocol-violation')
  })

  it('if encryption is requested again within TLS', async () => {
    for (const packet of [sslRequestPacket(), gssRequest]) {
      const client = await openTls(gateway)
      client.send(packet)
      expect(await client.ended()).toEqual([])
      await log.refusal('protocol-violation')
    }
  })

  it('without affecting other connections', async () => {
    const client = await loggedIn(gateway)
    await plainAnswer(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    client.send(Buffer.from('S\0\0\0\x04', 'latin1'))
    await client.next('Z')
    client.socket.destroy()
  })
})

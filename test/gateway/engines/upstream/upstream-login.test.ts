import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Client } from 'pg'
import {
  startGateway,
  type Gateway,
  type GatewayOptions,
  type UpstreamOptions,
} from '../../../../gateway/index.js'
import * as backend from '../../../../gateway/wire/backend-messages.js'
import { withClient } from '../checks/gateway-clients.js'
import { recordLog, usePostgres } from '../../upstream-gateway.js'

const postgres = usePostgres()

const currentUser = (gateway: Gateway): Promise<unknown> =>
  withClient(
    gateway,
    async (client) => (await client.query('select current_user as u')).rows[0] as unknown,
  )

function overTcp(password?: string): UpstreamOptions {
  return {
    host: postgres.server().host,
    port: postgres.server().port,
    ...(password === undefined ? {} : { password }),
  }
}

describe('the login at a PostgreSQL that asks for a password', () => {
  it('is made by SCRAM-SHA-256', async () => {
    const gateway = await postgres.start({ upstream: overTcp(postgres.server().password) })
    expect(await currentUser(gateway)).toEqual({ u: 'app' })
  })

  it('may come from a URL', async () => {
    const { host, port, password } = postgres.server()
    const upstream = `postgres://:${encodeURIComponent(password)}@${host}:${port}/postgres`
    expect(await currentUser(await postgres.start({ upstream }))).toEqual({ u: 'app' })
  })

  it('fails with a wrong password, which is shown to nobody', async () => {
    const log = recordLog()
    const gateway = await postgres.start({
      upstream: overTcp('canary-password'),
      logger: log.logger,
    })
    const error: unknown = await currentUser(gateway).catch((refusal: unknown) => refusal)
    expect(error).toMatchObject({ severity: 'FATAL', code: '28P01' })
    expect(JSON.stringify([error, log.lines])).not.toContain('canary-password')
  })

  it('fails without a password, and says what to do', async () => {
    const attempt = currentUser(await postgres.start({ upstream: overTcp() }))
    await expect(attempt).rejects.toMatchObject({
      code: '28000',
      hint: expect.stringContaining('upstream.password') as string,
    })
  })

  it('goes to the database of "upstream" where that names one', async () => {
    const { socketDirectory: host, port, superuser: user } = postgres.server()
    const admin = new Client({ host, port, user, database: 'postgres' })
    await admin.connect()
    await admin.query('create database elsewhere')
    await admin.end()
    const gateway = await postgres.start({ upstream: { host, port, database: 'elsewhere' } })
    const rows = await withClient(
      gateway,
      async (client) => (await client.query('select current_database() as d')).rows,
    )
    expect(rows).toEqual([{ d: 'elsewhere' }])
  })
})

function sasl(mechanisms: string): Buffer {
  return Buffer.concat([backend.int32(10), Buffer.from(mechanisms)])
}

describe('the login at a server that answers as it likes', () => {
  let server: Server
  let answer: (socket: Socket, received: Buffer) => void
  beforeEach(async () => {
    server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (received: Buffer) => {
        const isTlsRequest = received.length === 8 && received.readInt32BE(4) === 80_877_103
        if (isTlsRequest) socket.write('N')
        else answer(socket, received)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(() => server.close())

  const start = (options: GatewayOptions = {}): Promise<Gateway> => {
    const { port } = server.address() as AddressInfo
    return startGateway({
      upstream: { host: '127.0.0.1', port, password: 'canary-password' },
      ...options,
    })
  }
  const ready = [backend.authenticationOk(), backend.readyForQuery('I')]

  it('sends the password in clear text within this machine', async () => {
    let password = ''
    answer = (socket, received) => {
      if (received[0] !== 0x70) socket.write(backend.authenticationCleartextPassword())
      else {
        password = received.toString('utf8', 5, received.length - 1)
        socket.write(Buffer.concat(ready))
      }
    }
    const gateway = await start()
    const client = new Client({
      host: gateway.host,
      port: gateway.port,
      user: 'app',
      database: 'postgres',
      password: gateway.login().password,
      ssl: { ca: gateway.ca },
    })
    await client.connect()
    expect(password).toBe('canary-password')
    client.on('error', () => {})
    await gateway.close()
  })

  const cases: [what: string, code: string, bytes: () => Buffer][] = [
    ['asks for MD5', '28000', () => backend.message(0x52, backend.int32(5), Buffer.alloc(4))],
    ['asks for GSSAPI', '28000', () => backend.message(0x52, backend.int32(7))],
    ['offers no SCRAM-SHA-256', '28000', () => backend.message(0x52, sasl('SCRAM-SHA-1\0\0'))],
    [
      'goes on with a SCRAM exchange that nobody began',
      '28000',
      () => backend.message(0x52, backend.int32(11)),
    ],
    [
      'announces a message of 2 GB',
      '08P01',
      () => Buffer.from('520x7fffffff'.replace('0x', ''), 'hex'),
    ],
  ]
  it.each(cases)('refuses the client where the server %s', async (_what, code, bytes) => {
    answer = (socket) => void socket.write(bytes())
    const gateway = await start()
    await expect(currentUser(gateway)).rejects.toMatchObject({ severity: 'FATAL', code })
    await gateway.close()
  })

  it('refuses the client where the server says yes in the middle of a SCRAM exchange', async () => {
    answer = (socket, received) =>
      void socket.write(
        received[0] === 0x70
          ? Buffer.concat(ready)
          : backend.message(0x52, sasl('SCRAM-SHA-256\0\0')),
      )
    const gateway = await start()
    await expect(currentUser(gateway)).rejects.toMatchObject({ code: '28000' })
    await gateway.close()
  })

  it('leaves no session that is opened after the login has timed out', async () => {
    let opening: Socket | undefined
    answer = (socket) => {
      opening = socket
    }
    const gateway = await start({ loginTimeoutMs: 1_000 })
    await expect(currentUser(gateway)).rejects.toMatchObject({ severity: 'FATAL', code: '57014' })
    const gone = once(opening!, 'close')
    opening!.write(Buffer.concat(ready))
    await gone
    expect(gateway.stats()).toMatchObject({ loginsAccepted: 0, sessionsOpen: 0 })
    await gateway.close()
  })

  it('refuses the client where the server closes in the middle of it', async () => {
    answer = (socket) => void socket.end(backend.authenticationOk())
    const gateway = await start()
    await expect(currentUser(gateway)).rejects.toMatchObject({ code: '08006' })
    await gateway.close()
  })

  it('keeps the gateway from starting where no PostgreSQL answers', async () => {
    const other = createServer((socket) =>
      socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    )
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const attempt = startGateway({ upstream: { host: '127.0.0.1', port } })
    await expect(attempt).rejects.toMatchObject({ code: 'ERR_GATEWAY_ENGINE' })
    other.close()
  })
})

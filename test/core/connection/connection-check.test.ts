import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import {
  connectionCheck,
  type ConnectionCheckOptions,
} from '../../../core/connection/connection-check.js'
import type { ConnectionSocket } from '../../../core/connection/socket-layer.js'
import { errorResponse, ServerError } from '../../../wire/error-response.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  readyForQuery,
} from '../../../wire/messages.js'

const query = (sql: string): Buffer => encodeMessage(FrontendType.query, cString(sql))
const CHECK = query('select 1')
const OWN = query('SELECT 2')
const READY = readyForQuery('I')
const DONE = Buffer.concat([encodeMessage(BackendType.commandComplete, cString('SELECT 1')), READY])
const NOTIFICATION = encodeMessage(
  BackendType.notificationResponse,
  Buffer.concat([Buffer.alloc(4), cString('news'), cString('x'.repeat(30))]),
)
const FATAL = errorResponse(new ServerError('57P01', 'terminating', { severity: 'FATAL' }))

let server: Server
let driver: ConnectionSocket
let peer: Socket
let received: Buffer
let told: Buffer

async function open(options: Partial<ConnectionCheckOptions> = {}): Promise<void> {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  ;[peer] = await accepted
  received = told = Buffer.alloc(0)
  peer.on('data', (chunk: Buffer) => (received = Buffer.concat([received, chunk])))
  const check = connectionCheck({ idleMs: 0, timeoutMs: 60_000, ...options })
  ;({ socket: driver } = await check({ socket, received: READY, host: 'localhost' }))
  driver.on('data', (chunk: Buffer) => (told = Buffer.concat([told, chunk])))
  driver.on('error', () => {})
  await until(() => told.equals(READY))
  told = Buffer.alloc(0)
}
afterEach(async () => {
  driver.destroy()
  peer.destroy()
  await new Promise((resolve) => server.close(resolve))
})

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
/** Resolves when the server has received exactly that since the last call. */
async function gets(bytes: Buffer): Promise<void> {
  await until(() => received.length >= bytes.length)
  expect(received).toEqual(bytes)
  received = Buffer.alloc(0)
}
/** Resolves when the driver has. */
async function hears(...messages: readonly Buffer[]): Promise<void> {
  const bytes = Buffer.concat(messages)
  await until(() => told.length >= bytes.length)
  expect(told).toEqual(bytes)
  told = Buffer.alloc(0)
}

describe('the check of an idle connection', () => {
  it('goes before a query, which the server gets when it has answered', async () => {
    await open()
    driver.write(OWN)
    await gets(CHECK)
    peer.write(DONE)
    await gets(OWN)
    peer.write(DONE)
    await hears(DONE)
  })

  it('is passed by a server that answers with an error, such as a conflict, which the driver does not hear of', async () => {
    await open()
    driver.write(OWN)
    await gets(CHECK)
    peer.write(Buffer.concat([errorResponse(new ServerError('40001', 'conflict')), READY]))
    await gets(OWN)
    peer.write(DONE)
    await hears(DONE)
  })

  it('is not passed by a server that ends the session: the driver hears why, and the query is not sent', async () => {
    await open()
    driver.write(OWN)
    await gets(CHECK)
    peer.end(FATAL)
    await hears(FATAL)
    await once(driver, 'close')
    expect(received.length).toBe(0)
  })

  it('lets through what the server says of itself meanwhile, in whichever pieces it arrives', async () => {
    await open()
    for (const cut of [1, 4, 20, NOTIFICATION.length - 1]) {
      driver.write(OWN)
      await gets(CHECK)
      const answer = Buffer.concat([NOTIFICATION, DONE, NOTIFICATION.subarray(0, cut)])
      for (const byte of answer) peer.write(Buffer.of(byte))
      await gets(OWN)
      peer.write(Buffer.concat([NOTIFICATION.subarray(cut), DONE]))
      await hears(NOTIFICATION, NOTIFICATION, DONE)
    }
  })

  it('is not sent in the middle of a message of the server', async () => {
    await open()
    peer.write(NOTIFICATION.subarray(0, 10))
    await hears(NOTIFICATION.subarray(0, 10))
    driver.write(OWN)
    await gets(OWN)
    peer.write(Buffer.concat([NOTIFICATION.subarray(10), DONE]))
    await hears(NOTIFICATION.subarray(10), DONE)
  })

  it('leaves what violates the protocol to the driver', async () => {
    await open()
    const wrong = Buffer.from([0x4e, 0, 0, 0, 1, 0])
    peer.write(wrong)
    await hears(wrong)
    driver.write(OWN)
    await gets(OWN)
    driver.write(Buffer.from([0x51, 0, 0, 0, 1]))
    await gets(Buffer.from([0x51, 0, 0, 0, 1]))
  })

  it('is sent after COPY, too, and leaves no listeners behind', async () => {
    await open()
    for (let each = 0; each < 12; each++) {
      driver.write(query('COPY pet FROM STDIN'))
      await gets(CHECK)
      peer.write(DONE)
      await gets(query('COPY pet FROM STDIN'))
      driver.write(encodeMessage(FrontendType.copyDone))
      await gets(encodeMessage(FrontendType.copyDone))
      peer.write(DONE)
      await hears(DONE)
    }
    expect(driver.listenerCount('close')).toBeLessThan(3)
  })

  it('ends the connection if there is no answer in time', async () => {
    await open({ timeoutMs: 50 })
    driver.write(OWN)
    const [error] = (await once(driver, 'error')) as [Error]
    expect(error).toMatchObject({
      code: 'ETIMEDOUT',
      message: 'the server did not answer within 50 ms on a connection that was idle',
    })
  })
})

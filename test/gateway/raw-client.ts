/** A client that sends any bytes to a gateway, valid or not. */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { sslRequestPacket } from '../../wire/startup.js'
import type { Gateway } from '../../gateway/index.js'
import { frontend, text } from '../wire/frontend-messages.js'

export interface Received {
  type: string
  body: Buffer
}

export interface RawClient {
  readonly socket: Socket
  send(...bytes: readonly Buffer[]): void
  /** Resolves with the next message of one of these types, and skips others. Rejects if the connection ends before. */
  next(...types: readonly string[]): Promise<Received>
  /** Resolves when the connection has ended, with all received bytes that were not skipped or returned. */
  ended(): Promise<Received[]>
}

export async function openPlain(gateway: Gateway): Promise<Socket> {
  const socket = connectTcp({ host: gateway.host, port: gateway.port, noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Starts TLS with an SSLRequest, as PostgreSQL clients do. */
export async function openTls(
  gateway: Gateway,
  options: ConnectionOptions = {},
): Promise<RawClient> {
  const socket = await openPlain(gateway)
  socket.write(sslRequestPacket())
  const [answer] = (await once(socket, 'data')) as [Buffer]
  expect(answer.toString()).toBe('S')
  return rawClient(await secure(socket, gateway, options))
}

export async function secure(
  socket: Socket,
  gateway: Gateway,
  options: ConnectionOptions = {},
): Promise<Socket> {
  const secured = connectTls({
    socket,
    ca: gateway.ca,
    servername: gateway.clusters[0]!,
    ...options,
  })
  secured.on('error', () => {})
  await once(secured, 'secureConnect')
  return secured
}

export function rawClient(socket: Socket): RawClient {
  let bytes = Buffer.alloc(0)
  const received: Received[] = []
  const state = { done: socket.destroyed || socket.readableEnded }
  let wake: (() => void) | undefined
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 5 && bytes.length > bytes.readInt32BE(1)) {
      const end = bytes.readInt32BE(1) + 1
      received.push({ type: String.fromCharCode(bytes[0]!), body: bytes.subarray(5, end) })
      bytes = bytes.subarray(end)
    }
    wake?.()
  })
  const finish = (): void => {
    state.done = true
    wake?.()
  }
  socket
    .on('error', () => {})
    .on('end', finish)
    .on('close', finish)
  const change = (): Promise<void> => new Promise((resolve) => (wake = resolve))
  return {
    socket,
    send: (...parts) => void socket.write(Buffer.concat(parts)),
    async next(...types) {
      for (;;) {
        const message = received.shift()
        if (message !== undefined && types.includes(message.type)) return message
        if (message !== undefined) continue
        if (state.done) throw new Error(`the connection ended before ${types.join(' or ')}`)
        await change()
      }
    },
    async ended() {
      while (!state.done) await change()
      return received.splice(0)
    },
  }
}

/** Written by hand, because the client's own code rejects some of these packets. */
export function startup(parameters: Record<string, string>, version = 0x0003_0000): Buffer {
  const body = Buffer.from(`${Object.entries(parameters).flat().join('\0')}\0\0`)
  const header = Buffer.alloc(8)
  header.writeInt32BE(body.length + 8, 0)
  header.writeInt32BE(version, 4)
  return Buffer.concat([header, body])
}

export function password(value: string): Buffer {
  return frontend('p', text(value))
}

export function query(sql: string): Buffer {
  return frontend('Q', text(sql))
}

/** The fields of an ErrorResponse, by their type letters. */
export function errorFields({ body }: Received): Record<string, string> {
  const fields = body
    .toString()
    .split('\0')
    .filter((field) => field !== '')
  return Object.fromEntries(fields.map((field) => [field[0]!, field.slice(1)]))
}

/** Logs in, and returns the client, ready for queries. */
export async function loggedIn(
  gateway: Gateway,
  options?: ConnectionOptions,
  parameters: Record<string, string> = {},
): Promise<RawClient> {
  const { user = 'app' } = parameters
  const client = await openTls(gateway, options)
  const token = await gateway.login({ user }).password()
  client.send(startup({ user, database: 'postgres', ...parameters }))
  await client.next('R')
  client.send(password(token))
  await client.next('Z')
  return client
}

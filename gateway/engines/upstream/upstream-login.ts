/** Logs in to the PostgreSQL behind the gateway as the role of a client. */
import type { Socket } from 'node:net'
import { startupPacket } from '../../../core/wire/startup-packet.js'
import { cString, int32, message } from '../../wire/backend-messages.js'
import { parseErrorResponse } from '../../wire/error-fields.js'
import { BackendType, FrontendType } from '../../wire/message-types.js'
import { createPacketReader, type PacketReader } from '../../wire/packet-reader.js'
import { ServerError } from '../../wire/server-error.js'
import { createScramExchange, type ScramExchange } from '../../../core/wire/scram-exchange.js'

/** The server's own key of a session, for cancel requests. */
export interface BackendKey {
  readonly processId: number
  readonly secretKey: Buffer
}

export interface UpstreamLogin {
  /** `undefined` where the server has sent none. */
  readonly key: BackendKey | undefined
  /** What the server said up to and with its first ReadyForQuery, without what belongs to the login. */
  readonly greeting: Buffer
}

export interface UpstreamLoginSettings {
  parameters: ReadonlyMap<string, string>
  password: string | undefined
  /** Whether a password may be sent as it is. */
  allowsCleartext: boolean
}

/** Rejects with the server's own refusal as a `ServerError`, or with the error of a connection that broke. */
export async function logInUpstream(
  socket: Socket,
  settings: UpstreamLoginSettings,
): Promise<UpstreamLogin> {
  const reader = createPacketReader(socket)
  socket.write(startupPacket(settings.parameters))
  await authenticate(socket, reader, settings)
  const greeting: Buffer[] = []
  let key: BackendKey | undefined
  for (;;) {
    const received = await readMessage(reader)
    if (received[0] === BackendType.backendKeyData) {
      key = { processId: received.readInt32BE(5), secretKey: received.subarray(9) }
      continue
    }
    greeting.push(received)
    if (received[0] === BackendType.readyForQuery) return { key, greeting: Buffer.concat(greeting) }
  }
}

/** Reads one whole message; an error of the server is thrown. */
export async function readMessage(reader: PacketReader): Promise<Buffer> {
  const header = await reader.read(5)
  const length = header.readInt32BE(1) - 4
  if (length < 0 || length > MAX_LOGIN_MESSAGE_BYTES)
    throw new ServerError(
      '08P01',
      'the server behind the gateway does not speak the PostgreSQL protocol',
    )
  const received = Buffer.concat([header, await reader.read(length)])
  if (received[0] === BackendType.errorResponse) throw parseErrorResponse(received)
  return received
}

const MAX_LOGIN_MESSAGE_BYTES = 1 << 20

async function authenticate(
  socket: Socket,
  reader: PacketReader,
  { password, allowsCleartext }: UpstreamLoginSettings,
): Promise<void> {
  let scram: ScramExchange | undefined
  let serverProven = true
  for (;;) {
    const request = await readMessage(reader)
    if (request[0] === BackendType.noticeResponse) continue
    const method = request[0] === BackendType.authentication ? request.readInt32BE(5) : -1
    if (method === Authentication.ok && serverProven) return
    if (password === undefined) throw notTrusted('the server asks for a password')
    if (method === Authentication.cleartext && allowsCleartext) {
      socket.write(message(FrontendType.password, cString(password)))
    } else if (method === Authentication.sasl && offersScram(request)) {
      scram = createScramExchange(password)
      serverProven = false
      const first = Buffer.from(scram.clientFirst)
      socket.write(
        message(FrontendType.password, cString(SCRAM_SHA_256), int32(first.length), first),
      )
    } else if (method === Authentication.saslContinue && scram !== undefined) {
      const final = await scram.clientFinal(request.toString('utf8', 9))
      socket.write(message(FrontendType.password, Buffer.from(final)))
    } else if (method === Authentication.saslFinal && scram !== undefined) {
      scram.verify(request.toString('utf8', 9))
      serverProven = true
    } else {
      throw notTrusted('the server asks for a login that the gateway does not do')
    }
  }
}

const Authentication = { ok: 0, cleartext: 3, sasl: 10, saslContinue: 11, saslFinal: 12 } as const
const SCRAM_SHA_256 = 'SCRAM-SHA-256'

function offersScram(request: Buffer): boolean {
  return request.toString('latin1', 9).split('\0').includes(SCRAM_SHA_256)
}

function notTrusted(detail: string): ServerError {
  return new ServerError('28000', 'the PostgreSQL behind the gateway refused its login', {
    detail,
    hint: 'Let it trust the gateway, over its Unix socket for example, or give "upstream.password".',
  })
}

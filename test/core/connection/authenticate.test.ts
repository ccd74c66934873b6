import { createHash } from 'node:crypto'
import {
  AUTHENTICATION_OK,
  CLEARTEXT_REQUEST,
  GREETING,
  SCRAM_REQUEST,
  errorResponse,
  md5Request,
  message,
} from '../support/backend-messages.js'
import { createByteReader, type ByteReader } from '../support/byte-reader.js'
import { acceptTls, startStandIn, type StandIn } from '../support/postgres-stand-in.js'
import { startRawClient, type RawClient } from '../support/raw-client.js'
import { printed } from '../support/printed.js'
import type { TLSSocket } from 'node:tls'

const md5 = (content: Buffer): string => createHash('md5').update(content).digest('hex')

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

/** A client whose startup packet is answered by `answer`. */
async function clientOf(
  answer: (socket: TLSSocket, reader: ByteReader) => Promise<unknown>,
): Promise<RawClient> {
  standIn = await startStandIn(async (socket, keys) => {
    const secured = await acceptTls(socket, keys)
    const reader = createByteReader(secured)
    await reader.packet()
    await answer(secured, reader)
  })
  return startRawClient(standIn.login())
}

describe('a login', () => {
  it('sends the token for a cleartext password request', async () => {
    let answer: Buffer = Buffer.alloc(0)
    const client = await clientOf(async (socket, reader) => {
      socket.write(CLEARTEXT_REQUEST)
      answer = await reader.message()
      socket.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    })
    await client.receive(GREETING.length)
    expect(String.fromCharCode(answer[0] ?? 0)).toBe('p')
    expect(answer.readInt32BE(1)).toBe(answer.length - 1)
    expect(answer.at(-1)).toBe(0)
    expect(answer.indexOf(0, 5)).toBe(answer.length - 1)
    client.stream.destroy()
  })

  it('sends a hash for an MD5 password request, as a PostgreSQL outside the cloud may send', async () => {
    const salt = Buffer.from([1, 250, 3, 0])
    let given = ''
    standIn = await startStandIn(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      const reader = createByteReader(secured)
      await reader.packet()
      secured.write(md5Request(salt))
      given = (await reader.message()).toString('latin1', 5)
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    })
    // A shared token, so that the test can get the same one.
    const login = standIn.login({ reuseTokenSecs: 60 })
    const client = startRawClient(login)
    await client.receive(GREETING.length)
    client.stream.destroy()
    const inner = md5(Buffer.from(`${await login.password()}app`))
    expect(given).toBe(`md5${md5(Buffer.concat([Buffer.from(inner), salt]))}\0`)
  })

  it.each([
    ['a SCRAM password', SCRAM_REQUEST],
    ['GSSAPI', message('R', 7)],
    ['SSPI', message('R', 9)],
    ['authentication method 2', message('R', 2)],
    ['authentication method 99', message('R', 99)],
  ])('fails when the server requests %s', async (name, request) => {
    let more: Promise<Buffer> | undefined
    const client = await clientOf(async (socket, reader) => {
      socket.write(request)
      more = reader.read(1)
      await more
    })
    const error = await client.closed
    expect(error).toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      message: `the server asked for ${name}, not for a token`,
      hint: expect.stringContaining('Allow IAM logins for "app"'),
    })
    expect(printed(error)).not.toContain('X-Amz')
    await expect(more).rejects.toThrow('the client left after 0 of 1 bytes')
    await standIn?.idle()
  })

  it.each([
    ['a message shorter than its own length word', Buffer.from('R\0\0\0\x03')],
    ['a message of two gigabytes', Buffer.from('R\x7f\xff\xff\xff', 'latin1')],
    ['a negative length', Buffer.from('R\xff\xff\xff\xff', 'latin1')],
    ['an authentication request without a method', message('R')],
    ['an authentication request with half a method', message('R', Buffer.from([0, 0]))],
    ['an MD5 request without salt', message('R', 5)],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ])(
    'fails with a reason, and closes its socket, when the server sends %s',
    async (_label, bytes) => {
      const client = await clientOf(async (socket, reader) => {
        socket.write(bytes)
        await reader.read(1)
      })
      expect(await client.closed).toMatchObject({
        code: 'ERR_PROTOCOL',
        message: expect.stringContaining('violates the PostgreSQL protocol'),
      })
      await standIn?.idle()
    },
  )

  it.each([
    ['before a password was asked for', Buffer.alloc(0)],
    ['after notices', message('N', Buffer.from('SNOTICE\0Mhello\0\0'))],
    ['after it had let the user in', AUTHENTICATION_OK],
  ])("that is rejected %s passes the server's error to the driver", async (_label, before) => {
    const refusal = errorResponse('3D000', 'database "shop" does not exist')
    const client = await clientOf(async (socket) => {
      socket.write(before)
      socket.end(refusal)
    })
    expect(await client.closed).toBeUndefined()
    expect(client.received()).toEqual(Buffer.concat([before, refusal]))
  })

  it("forwards the server's messages about protocol versions and parameters", async () => {
    const negotiate = message('v', 0x0003_0000, 0)
    const notice = message('N', Buffer.from('SNOTICE\0Mhello\0\0'))
    const client = await clientOf(async (socket, reader) => {
      socket.write(Buffer.concat([negotiate, CLEARTEXT_REQUEST]))
      await reader.message()
      socket.write(Buffer.concat([notice, AUTHENTICATION_OK, GREETING]))
    })
    const expected = Buffer.concat([negotiate, notice, AUTHENTICATION_OK, GREETING])
    expect(await client.receive(expected.length)).toEqual(expected)
    client.stream.destroy()
  })

  it.each([
    ['a row', message('D', Buffer.from([0, 0]))],
    ['a BackendKeyData', message('K', 1, 2)],
    ['a ReadyForQuery', message('Z', 'I')],
    ['an ErrorResponse without its end', message('E')],
  ])('fails when the server sends %s before AuthenticationOk', async (_label, bytes) => {
    const client = await clientOf(async (socket, reader) => {
      socket.write(bytes)
      await reader.read(1)
    })
    expect(await client.closed).toMatchObject({ code: 'ERR_PROTOCOL' })
    await standIn?.idle()
  })

  it.each([
    ['a password again', CLEARTEXT_REQUEST],
    ['a row', message('D', Buffer.from([0, 0]))],
    ['a NegotiateProtocolVersion', message('v', 0x0003_0000, 0)],
  ])('fails when the server sends %s after AuthenticationOk', async (_label, bytes) => {
    const client = await clientOf(async (socket, reader) => {
      socket.write(Buffer.concat([CLEARTEXT_REQUEST]))
      await reader.message()
      socket.write(Buffer.concat([AUTHENTICATION_OK, bytes]))
      await reader.read(1)
    })
    expect(await client.closed).toMatchObject({ code: 'ERR_PROTOCOL' })
    expect(client.received()).toEqual(Buffer.alloc(0))
    await standIn?.idle()
  })

  it('rejects a second password request', async () => {
    let more: Promise<Buffer> | undefined
    const client = await clientOf(async (socket, reader) => {
      socket.write(CLEARTEXT_REQUEST)
      await reader.message()
      socket.write(CLEARTEXT_REQUEST)
      more = reader.read(1)
      await more
    })
    expect(await client.closed).toMatchObject({
      code: 'ERR_PROTOCOL',
      message: expect.stringContaining('asked for a password a second time'),
    })
    await expect(more).rejects.toThrow('the client left after 0 of 1 bytes')
  })

  it('accepts 30,000 bytes from a server, and rejects more', async () => {
    const notice = message('N', `SNOTICE\0M${'x'.repeat(980)}\0\0`)
    let sent = 0
    const client = await clientOf(async (socket) => {
      socket.write(AUTHENTICATION_OK)
      for (; !socket.destroyed; sent += notice.length)
        await new Promise((resolve) => socket.write(notice, resolve))
    })
    expect(await client.closed).toMatchObject({
      code: 'ERR_PROTOCOL',
      message: expect.stringContaining('more than 30000 bytes during login'),
    })
    expect(sent).toBeGreaterThan(29_000)
    await standIn?.idle()
  })
})

/** Servers that request an ordinary password by SCRAM. */
import { createHash } from 'node:crypto'
import { customLogin, type Login } from '../../../core/index.js'
import { scramKeys, type ScramServer, startScram } from '../../../wire/scram.js'
import { AUTHENTICATION_OK, cString, GREETING, message } from '../support/backend-messages.js'
import { type ByteReader, createByteReader } from '../support/byte-reader.js'
import { HOST } from '../support/dsql-options.js'
import { acceptTls, type StandIn, startStandIn } from '../support/postgres-stand-in.js'
import { printed } from '../support/printed.js'
import { startRawClient } from '../support/raw-client.js'
import type { TLSSocket } from 'node:tls'

const SALT = Buffer.from('salt')
const FINAL = 12

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

/** Starts a server that offers `mechanisms`, and then runs `go`. */
async function serve(
  mechanisms: readonly string[],
  go: (socket: TLSSocket, reader: ByteReader) => Promise<unknown>,
): Promise<Login> {
  standIn = await startStandIn(async (socket, keys) => {
    const secured = await acceptTls(socket, keys)
    const reader = createByteReader(secured)
    await reader.packet()
    const offered = [...mechanisms.map(cString), Buffer.from([0])]
    secured.write(message('R', 10, ...offered))
    await go(secured, reader)
  })
  const { port, authority } = standIn
  return customLogin({
    host: HOST,
    user: 'app',
    getToken: () => 'CANARY',
    connectTo: { host: '127.0.0.1', port },
    tls: { ca: authority.ca },
  })
}

/** Reads the client's first message, and replies to it. */
async function begin(socket: TLSSocket, reader: ByteReader): Promise<ScramServer> {
  const initial = (await reader.message()).subarray(5)
  const nameEnd = initial.indexOf(0)
  expect(initial.toString('utf8', 0, nameEnd)).toBe('SCRAM-SHA-256')
  const clientFirst = initial.toString('utf8', nameEnd + 5)
  expect(initial.readInt32BE(nameEnd + 1)).toBe(Buffer.byteLength(clientFirst))
  const keys = await scramKeys('CANARY', SALT, 4_096)
  const channelBinding = createHash('sha256').digest()
  const settings = { keys, salt: SALT, iterations: 4_096, channelBinding }
  const scram = startScram('SCRAM-SHA-256', clientFirst, settings)
  if (typeof scram === 'string') throw new Error(scram)
  socket.write(message('R', 11, Buffer.from(scram.serverFirst)))
  return scram
}

/** Reads the client's proof, and returns that of the server. */
async function prove(reader: ByteReader, scram: ScramServer): Promise<string> {
  const answer = scram.answer((await reader.message()).toString('utf8', 5))
  if (typeof answer === 'string' || answer.serverFinal === undefined)
    throw new Error('the proof is wrong')
  return answer.serverFinal
}

describe('a password that a server requests by SCRAM', () => {
  it.each([[['SCRAM-SHA-256']], [['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']]])(
    'is proved, and not sent, if %p is offered',
    async (mechanisms) => {
      const login = await serve(mechanisms, async (socket, reader) => {
        const final = await prove(reader, await begin(socket, reader))
        const proof = message('R', FINAL, Buffer.from(final))
        socket.write(Buffer.concat([proof, AUTHENTICATION_OK, GREETING]))
      })
      const client = startRawClient(login)
      // The exchange must not be visible to the driver.
      const expected = Buffer.concat([AUTHENTICATION_OK, GREETING])
      expect(await client.receive(expected.length)).toEqual(expected)
      client.stream.destroy()
    },
  )

  it.each<[string, (final: string) => readonly Buffer[], string]>([
    [
      'a wrong proof',
      () => [message('R', FINAL, Buffer.from(`v=${Buffer.alloc(32).toString('base64')}`))],
      'the SCRAM exchange with the server failed',
    ],
    ['no proof', () => [], 'the server skipped its proof in the SCRAM exchange'],
  ])('is rejected for a server with %s', async (_label, proof, text) => {
    const login = await serve(['SCRAM-SHA-256'], async (socket, reader) => {
      const final = await prove(reader, await begin(socket, reader))
      socket.write(Buffer.concat([...proof(final), AUTHENTICATION_OK, GREETING]))
    })
    const error = await startRawClient(login).closed
    expect(error).toMatchObject({ code: 'ERR_LOGIN_REJECTED', message: text })
    expect(printed(error)).not.toContain('CANARY')
    await standIn?.idle()
  })

  it.each<[string, (socket: TLSSocket, reader: ByteReader) => Promise<unknown>]>([
    [
      'answers another exchange',
      async (socket, reader) => {
        await reader.message()
        socket.write(message('R', 11, Buffer.from('r=another,s=c2FsdA==,i=4096')))
      },
    ],
    [
      'asks for hours of work',
      async (socket, reader) => {
        const first = (await reader.message()).toString('utf8')
        const nonce = /r=(.*)$/.exec(first)?.[1]
        socket.write(message('R', 11, Buffer.from(`r=${nonce}x,s=c2FsdA==,i=100001`)))
      },
    ],
  ])('is not sent, and the login fails, if the server %s', async (_label, go) => {
    const login = await serve(['SCRAM-SHA-256'], async (socket, reader) => {
      await go(socket, reader)
      await reader.read(10_000)
    })
    expect(await startRawClient(login).closed).toMatchObject({ code: 'ERR_LOGIN_REJECTED' })
    await standIn?.idle()
  })

  it('is rejected with an unsupported mechanism', async () => {
    const login = await serve(['OAUTHBEARER'], (_socket, reader) => reader.read(1))
    expect(await startRawClient(login).closed).toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      message: 'the server asked for a SCRAM password, not for a password',
      hint: expect.stringContaining('scram-sha-256'),
    })
  })
})

import type { AwsCredentials } from '../../../core/index.js'
import { GREETING, errorResponse } from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { CREDENTIALS } from '../support/dsql-options.js'
import {
  acceptLogin,
  acceptTls,
  receiveLogin,
  startStandIn,
  type Behaviour,
  type StandIn,
} from '../support/postgres-stand-in.js'
import { startRawClient } from '../support/raw-client.js'

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

const TOO_MANY = errorResponse('53300', 'too many connections')

const refusing = (error: Buffer): Behaviour => {
  return async (socket, keys) => {
    const { socket: secured } = await receiveLogin(socket, keys)
    secured.resume().end(error)
  }
}

describe('the time that a connection may take', () => {
  it.each<[string, Behaviour]>([
    ['does not answer', async (socket) => void socket.resume()],
    [
      'does not go on with TLS',
      async (socket) => void (await createByteReader(socket).packet(), socket.write('S')),
    ],
    [
      'does not answer the startup packet',
      async (socket, keys) => void (await acceptTls(socket, keys)).resume(),
    ],
  ])(
    'ends at connectTimeoutMs when the server %s, and leaves no socket',
    async (_label, behaviour) => {
      standIn = await startStandIn(behaviour)
      const client = startRawClient(standIn.login({ connectTimeoutMs: 300 }))
      expect(await client.closed).toMatchObject({
        code: 'ERR_CONNECT_TIMEOUT',
        message: expect.stringMatching(/^aurora-dsql: could not connect to .* within 300 ms$/),
        retryable: true,
        hint: expect.stringContaining('"connectTimeoutMs"'),
      })
      await standIn.idle()
    },
  )

  it('ends at connectTimeoutMs also while the token is made', async () => {
    standIn = await startStandIn(async () => {})
    let answer: ((value: AwsCredentials) => void) | undefined
    const credentials = (): Promise<AwsCredentials> => new Promise((resolve) => (answer = resolve))
    const client = startRawClient(
      standIn.login({ credentials, connectTimeoutMs: 50, tokenTimeoutMs: 600_000 }),
    )
    expect(await client.closed).toMatchObject({ code: 'ERR_CONNECT_TIMEOUT' })
    answer?.(CREDENTIALS)
    expect(standIn.accepted()).toBe(0)
  })
})

describe('a server that refuses', () => {
  it('because of too many connections is asked again, with a new token, until it accepts', async () => {
    let attempts = 0
    standIn = await startStandIn(async (socket, keys) => {
      if (++attempts === 3) {
        await acceptLogin(socket, keys)
        return
      }
      await refusing(TOO_MANY)(socket, keys)
    })
    const login = standIn.login()
    const client = startRawClient(login)
    await client.receive(GREETING.length)
    expect(client.received().includes('53300')).toBe(false)
    expect([standIn.accepted(), login.stats().tokensMade]).toEqual([3, 3])
    expect(login.stats().connectionsOpened).toBe(1)
    client.stream.destroy()
    await standIn.idle()
  })

  it('because of too many connections to the end gets its word', async () => {
    standIn = await startStandIn(refusing(TOO_MANY))
    const client = startRawClient(standIn.login({ connectTimeoutMs: 400 }))
    expect(await client.closed).toBeUndefined()
    expect(client.received()).toEqual(TOO_MANY)
    await standIn.idle()
  })

  it.each(['28000', '28P01', '3D000', '42501', '57P03'])('with %s is asked once', async (code) => {
    const refusal = errorResponse(code, 'no')
    standIn = await startStandIn(refusing(refusal))
    const client = startRawClient(standIn.login())
    expect(await client.closed).toBeUndefined()
    expect(client.received()).toEqual(refusal)
    expect(standIn.accepted()).toBe(1)
  })

  it('is not asked again when the driver has left meanwhile', async () => {
    jest.useFakeTimers({
      doNotFake: ['Date', 'nextTick', 'setImmediate', 'queueMicrotask', 'performance'],
    })
    try {
      standIn = await startStandIn(refusing(TOO_MANY))
      const client = startRawClient(standIn.login())
      while (standIn.accepted() === 0) await new Promise((resolve) => setImmediate(resolve))
      await standIn.idle()
      // The limit of the whole connection, and the pause before the next attempt.
      while (jest.getTimerCount() < 2) await new Promise((resolve) => setImmediate(resolve))
      client.stream.destroy()
      expect(await client.closed).toBeUndefined()
      await new Promise((resolve) => setImmediate(resolve))
      expect([jest.getTimerCount(), standIn.accepted()]).toEqual([0, 1])
    } finally {
      jest.useRealTimers()
    }
  })
})

import { collectEvents, type CollectedEvents } from '../support/collect-events.js'
import { AUTHENTICATION_OK, CLEARTEXT_REQUEST, GREETING } from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { CREDENTIALS } from '../support/dsql-options.js'
import {
  acceptLogin,
  acceptTls,
  startStandIn,
  type Behaviour,
  type StandIn,
} from '../support/postgres-stand-in.js'
import { startRawClient } from '../support/raw-client.js'

let standIn: StandIn | undefined
let collected: CollectedEvents
beforeEach(() => {
  collected = collectEvents()
})
afterEach(async () => {
  collected.stop()
  await standIn?.close()
  standIn = undefined
})

/** Servers that stop at a point of the login, and then run the test's callback, which can cut the connection. */
const stages: [string, (then: (cut: () => void) => void) => Behaviour][] = [
  ['the server has accepted it', (then) => async (socket) => then(() => socket.destroy())],
  [
    'its SSLRequest',
    (then) => async (socket) => {
      await createByteReader(socket).packet()
      then(() => socket.destroy())
    },
  ],
  [
    'the reply to its SSLRequest',
    (then) => async (socket) => {
      const reader = createByteReader(socket)
      await reader.packet()
      socket.write('S')
      await reader.read(1)
      then(() => socket.destroy())
    },
  ],
  [
    'the TLS handshake',
    (then) => async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      secured.resume()
      then(() => secured.end())
    },
  ],
  [
    'its startup packet',
    (then) => async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      await createByteReader(secured).packet()
      then(() => socket.destroy())
    },
  ],
  [
    'the token was sent',
    (then) => async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      const reader = createByteReader(secured)
      await reader.packet()
      secured.write(CLEARTEXT_REQUEST)
      await reader.message()
      then(() => secured.end())
    },
  ],
  [
    'AuthenticationOk, before ReadyForQuery',
    (then) => async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      const reader = createByteReader(secured)
      await reader.packet()
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING.subarray(0, -1)]), () =>
        then(() => secured.end()),
      )
    },
  ],
]

describe('a stream that is destroyed', () => {
  it.each(stages)('after %s closes its socket', async (_label, stage) => {
    let destroy = (): void => {}
    standIn = await startStandIn(stage(() => destroy()))
    const login = standIn.login({ tls: { negotiation: 'postgres' } })
    const client = startRawClient(login)
    destroy = () => client.stream.destroy()
    expect(await client.closed).toBeUndefined()
    await standIn.idle()
    expect(standIn.accepted()).toBe(1)
    expect(login.stats()).toMatchObject({ connectionsOpened: 0, connectionsOpen: 0 })
    expect(collected.names()).toEqual(['token.made'])
  })

  it('while its token is requested never dials', async () => {
    standIn = await startStandIn(async () => {})
    let give = (): void => {}
    const asked = new Promise<void>((resolve) => {
      give = resolve
    })
    let answer: ((value: typeof CREDENTIALS) => void) | undefined
    const login = standIn.login({
      credentials: () => {
        give()
        return new Promise((resolve) => (answer = resolve))
      },
    })
    const client = startRawClient(login)
    await asked
    client.stream.destroy()
    expect(await client.closed).toBeUndefined()
    answer?.(CREDENTIALS)
    await collected.next('pg-iam:token.made')
    await new Promise((resolve) => setImmediate(resolve))
    expect(standIn.accepted()).toBe(0)
  })

  it('while it was open is reported as retired with its error, once', async () => {
    standIn = await startStandIn(async (socket, keys) => void (await acceptLogin(socket, keys)))
    const client = startRawClient(standIn.login())
    await client.receive(GREETING.length)
    client.stream.destroy(new Error('enough'))
    client.stream.destroy()
    expect(await client.closed).toEqual(new Error('enough'))
    await standIn.idle()
    expect(collected.names()).toEqual(['token.made', 'connection.opened', 'connection.retired'])
  })
})

describe('a server that closes the connection', () => {
  it.each(stages)(
    'after %s causes a connection error, and leaves no socket open',
    async (_label, stage) => {
      standIn = await startStandIn(stage((cut) => cut()))
      const login = standIn.login({ tls: { negotiation: 'postgres' } })
      const client = startRawClient(login)
      expect(await client.closed).toMatchObject({
        code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/),
      })
      expect(client.received()).toHaveLength(0)
      await standIn.idle()
      expect(login.stats()).toMatchObject({ connectionsOpened: 0, connectionsOpen: 0 })
    },
  )
})

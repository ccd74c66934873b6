import { dial } from '../../../core/connection/log-in.js'
import { verifiedTls } from '../../../core/tls.js'
import { rejectionOf } from '../support/caught.js'
import { createByteReader } from '../support/byte-reader.js'
import { type Behaviour, type StandIn, startStandIn } from '../support/postgres-stand-in.js'

let standIn: StandIn | undefined

afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

/** The error of dialling such a server, once no connection to it is open. */
async function refusal(
  behaviour: Behaviour,
  signal = new AbortController().signal,
): Promise<unknown> {
  standIn = await startStandIn(behaviour)
  const address = { host: '127.0.0.1', port: standIn.port }
  const tls = verifiedTls('db.example.com', { ca: standIn.authority.ca })
  const error = await rejectionOf(dial({ address, tls, negotiation: 'postgres', signal }))
  await standIn.idle()
  return error
}

describe('dial, when it ends early,', () => {
  const closingAfter: [string, Behaviour][] = [
    ['accepting the connection', async (socket) => void socket.destroy()],
    [
      'the SSLRequest, with an error',
      async (socket) => void (await createByteReader(socket).packet(), socket.destroy()),
    ],
    [
      'the SSLRequest, regularly',
      async (socket) => void (await createByteReader(socket).packet(), socket.end()),
    ],
    [
      'accepting the SSLRequest',
      async (socket) => {
        await createByteReader(socket).packet()
        socket.end('S')
      },
    ],
    [
      'the first bytes of the handshake',
      async (socket) => {
        const reader = createByteReader(socket)
        await reader.packet()
        socket.write('S')
        await reader.read(1)
        socket.resetAndDestroy()
      },
    ],
  ]
  it.each(closingAfter)('rejects when the server closes after %s', async (_label, behaviour) => {
    const error = await refusal(behaviour)
    expect(error).toMatchObject({ code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) })
  })

  it('does not dial if its signal was aborted before', async () => {
    const error = await refusal(async () => {}, AbortSignal.abort())
    expect(error).toMatchObject({ name: 'AbortError' })
    expect(standIn?.accepted()).toBe(0)
  })

  const stages: [string, (reached: () => void) => Behaviour][] = [
    ['the server has accepted the connection', (reached) => async () => reached()],
    [
      'its SSLRequest',
      (reached) => async (socket) => {
        await createByteReader(socket).packet()
        reached()
      },
    ],
    [
      'the start of the TLS handshake',
      (reached) => async (socket) => {
        const reader = createByteReader(socket)
        await reader.packet()
        socket.write('S')
        await reader.read(1)
        reached()
      },
    ],
  ]
  it.each(stages)('closes its socket when it is aborted after %s', async (_label, stage) => {
    const controller = new AbortController()
    const behaviour = stage(() => controller.abort())
    expect(await refusal(behaviour, controller.signal)).toMatchObject({ name: 'AbortError' })
    expect(standIn?.accepted()).toBe(1)
  })
})

import { once } from 'node:events'
import { Client, type ClientConfig, Query } from 'pg'
import postgres from 'postgres'
import { createStreamFactory } from '../../../core/connection/login-stream.js'
import { AUTHENTICATION_OK, errorResponse, GREETING, READY } from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { rejectionOf } from '../support/caught.js'
import { acceptTls, type StandIn, startStandIn } from '../support/postgres-stand-in.js'

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

describe('a cancelled query', () => {
  /** A server whose queries wait for the cancel request, which arrives on a separate connection. */
  async function startCancellable(): Promise<{ server: StandIn; requests: Buffer[] }> {
    const requests: Buffer[] = []
    let cancel: (() => void) | undefined
    const server = await startStandIn(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      const reader = createByteReader(secured)
      const first = await reader.packet()
      if (first.readInt32BE(4) === 80_877_102) {
        requests.push(Buffer.from(first.subarray(8)))
        cancel?.()
        return void secured.end()
      }
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
      await reader.message()
      cancel = () =>
        secured.write(
          Buffer.concat([errorResponse('57014', 'canceling statement', 'ERROR'), READY]),
        )
      await reader.message()
      return void secured.end()
    })
    return { server, requests }
  }
  /** Process ID and key of BackendKeyData. */
  const KEY = Buffer.from([0, 0, 0x12, 0x67, 0, 0, 0x04, 0xd2])

  it('of pg is cancelled on a separate connection', async () => {
    const { server, requests } = await startCancellable()
    standIn = server
    const stream = createStreamFactory(server.login()) as unknown as NonNullable<
      ClientConfig['stream']
    >
    const [client, canceller] = [
      new Client({ stream, user: 'app' }),
      new Client({ stream, user: 'app' }),
    ]
    await client.connect()
    const query = new Query('select pg_sleep(60)')
    const failed = once(query, 'error')
    client.query(query)
    ;(canceller as unknown as { cancel(running: Client, query: Query): void }).cancel(client, query)
    expect((await failed)[0]).toMatchObject({ code: '57014' })
    expect(requests).toEqual([KEY])
    await client.end()
    await server.idle()
  })

  it('of Postgres.js is cancelled on a separate connection', async () => {
    const { server, requests } = await startCancellable()
    standIn = server
    const options = {
      socket: createStreamFactory(server.login()),
      user: 'app',
      max: 1,
      fetch_types: false,
    }
    const sql = postgres(options as object)
    const query = sql.unsafe('select pg_sleep(60)')
    const failed = rejectionOf(query.execute())
    const sent = query as unknown as { state: unknown }
    while (sent.state === null) await new Promise((resolve) => setImmediate(resolve))
    query.cancel()
    expect(await failed).toMatchObject({ code: '57014' })
    expect(requests).toEqual([KEY])
    await sql.end()
    await server.idle()
  })
})

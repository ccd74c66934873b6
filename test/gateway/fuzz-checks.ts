/** Random bytes in random pieces, at every stage of a connection. */
import * as fc from 'fast-check'
import type { Socket } from 'node:net'
import { sslRequestPacket } from '../../wire/startup.js'
import type { Gateway } from '../../gateway/index.js'
import { withClient } from './engines/checks/gateway-clients.js'
import { loggedIn, openPlain, openTls, password, query, startup } from './raw-client.js'
import { anyFrontendMessage, inChunks, int32 } from '../wire/frontend-messages.js'

/** Writes the pieces, each after the previous one was sent, and then ends its side. */
async function writeAll(socket: Socket, chunks: readonly Buffer[]): Promise<void> {
  const closed = new Promise((resolve) => socket.resume().once('close', resolve))
  for (const chunk of chunks) {
    if (socket.destroyed) break
    await new Promise((resolve) => socket.write(chunk, resolve))
  }
  socket.end()
  await closed
}

async function expectService(gateway: Gateway): Promise<void> {
  const rows = await withClient(
    gateway,
    async (client) => (await client.query('select 1 as one')).rows,
  )
  expect(rows).toEqual([{ one: 1 }])
}

const cuts = fc.array(fc.nat(), { maxLength: 8 })
const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
const APP = { user: 'app', database: 'postgres' }

/** A packet without a type byte: valid, with a wrong length, or with a random body. */
const initialPacket = fc.oneof(
  noise,
  fc.constant(sslRequestPacket()),
  fc
    .tuple(
      fc.integer({ min: -10, max: 20_000 }),
      fc.constantFrom(196_608, 196_610, 131_072, 80_877_102, 80_877_104),
      noise,
    )
    .map(([length, code, body]) => Buffer.concat([int32(length), int32(code), body])),
  fc
    .dictionary(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), { maxKeys: 5 })
    .map((parameters) => startup(parameters)),
)

/** Registers the checks that no input of a client prevents a gateway from serving others. */
export function describeFuzz(gatewayOf: () => Gateway): void {
  it('keeps serving after any first bytes in any pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(initialPacket, { maxLength: 3 }), cuts, async (packets, places) => {
        await writeAll(await openPlain(gatewayOf()), inChunks(Buffer.concat(packets), places))
      }),
      { numRuns: 300 },
    )
    await expectService(gatewayOf())
  })

  it('keeps serving after any bytes within TLS instead of a login', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(initialPacket, { maxLength: 3 }), cuts, async (packets, places) => {
        const { socket } = await openTls(gatewayOf())
        await writeAll(socket, inChunks(Buffer.concat(packets), places))
      }),
      { numRuns: 100 },
    )
    await expectService(gatewayOf())
  })

  it('keeps serving after any bytes instead of a password', async () => {
    await fc.assert(
      fc.asyncProperty(noise, cuts, async (bytes, places) => {
        const client = await openTls(gatewayOf())
        client.send(startup(APP))
        await client.next('R')
        await writeAll(client.socket, inChunks(bytes, places))
      }),
      { numRuns: 100 },
    )
    await expectService(gatewayOf())
  })

  it('keeps serving after logins that are aborted anywhere', async () => {
    const bytes = Buffer.concat([
      startup(APP),
      password(await gatewayOf().login().password()),
      query('select 1'),
    ])
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), cuts, async (length, places) => {
        const { socket } = await openTls(gatewayOf())
        await writeAll(socket, inChunks(bytes.subarray(0, length), places))
      }),
      { numRuns: 60 },
    )
    await expectService(gatewayOf())
  })

  it('keeps serving after sessions with well-formed but meaningless messages, and with random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 9, arbitrary: anyFrontendMessage }, noise), { maxLength: 12 }),
        cuts,
        async (messages, places) => {
          const { socket } = await loggedIn(gatewayOf())
          await writeAll(socket, inChunks(Buffer.concat(messages), places))
        },
      ),
      { numRuns: 100 },
    )
    await expectService(gatewayOf())
  })
}

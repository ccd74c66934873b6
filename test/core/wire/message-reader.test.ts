import * as fc from 'fast-check'
import { isPgIamError } from '../../../core/index.js'
import { createMessageReader, type Message } from '../../../core/wire/message-reader.js'
import { thrownBy } from '../support/caught.js'
import { message } from '../support/backend-messages.js'

const MOST = 1_000

/** A message of any type and content within the limit. */
const anyMessage = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 60 }))
  .map(([type, body]) => message(String.fromCharCode(type), Buffer.from(body)))

/** Cuts `bytes` at `cuts`, which may repeat and so make empty pieces. */
function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [
    0,
    ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b),
    bytes.length,
  ]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

/** Copies, because what `push` gives are views. */
const copies = (messages: Message[]): [number, string][] =>
  messages.map(({ type, bytes }) => [type, bytes.toString('hex')])

describe('createMessageReader', () => {
  it('gives the same messages however the bytes were cut', () => {
    fc.assert(
      fc.property(fc.array(anyMessage), fc.array(fc.nat()), (messages, cuts) => {
        const reader = createMessageReader(MOST)
        const read = cutAt(Buffer.concat(messages), cuts).flatMap((piece) =>
          copies(reader.push(piece)),
        )
        expect(read).toEqual(messages.map((bytes) => [bytes[0], bytes.toString('hex')]))
        expect(reader.takeRest()).toHaveLength(0)
      }),
    )
  })

  it('gives each message with the piece that completes it, and keeps what is left', () => {
    fc.assert(
      fc.property(fc.array(anyMessage, { minLength: 1 }), fc.nat(), (messages, at) => {
        const all = Buffer.concat(messages)
        const cut = at % (all.length + 1)
        const reader = createMessageReader(MOST)
        let whole = 0
        const due = messages.filter((bytes) => (whole += bytes.length) <= cut)
        expect(reader.push(all.subarray(0, cut))).toHaveLength(due.length)
        const taken = Buffer.concat(due).length
        expect(reader.takeRest().equals(all.subarray(taken, cut))).toBe(true)
        // The reader begins anew after its rest was taken.
        expect(copies(reader.push(message('Z', 'I')))).toEqual([
          [0x5a, message('Z', 'I').toString('hex')],
        ])
      }),
    )
  })

  it('takes messages up to the limit, type byte and length included', () => {
    const largest = message('d', Buffer.alloc(MOST - 5))
    expect(createMessageReader(MOST).push(largest)).toHaveLength(1)
    const reader = createMessageReader(MOST)
    // The header tells already, so that nobody waits for, or keeps, what is refused.
    expect(
      thrownBy(() => reader.push(message('d', Buffer.alloc(MOST - 4)).subarray(0, 5))),
    ).toMatchObject({
      code: 'ERR_PROTOCOL',
      message: 'invalid message length 1000',
    })
  })

  it.each([0, 1, 2, 3, -1, -2_147_483_648, 2_147_483_647])('refuses the length %d', (length) => {
    const header = Buffer.from('Q\0\0\0\0')
    header.writeInt32BE(length, 1)
    expect(thrownBy(() => createMessageReader(MOST).push(header))).toMatchObject({
      code: 'ERR_PROTOCOL',
      message: `invalid message length ${length}`,
    })
  })

  it('gives nothing for nothing', () => {
    const reader = createMessageReader(MOST)
    expect(reader.push(Buffer.alloc(0))).toEqual([])
    expect(reader.push(Buffer.from('Z\0\0\0'))).toEqual([])
    expect(reader.push(Buffer.alloc(0))).toEqual([])
    expect(copies(reader.push(Buffer.from('\x05I')))).toEqual([
      [0x5a, message('Z', 'I').toString('hex')],
    ])
  })

  it('reads or refuses any bytes, and gives back or keeps all of them until then', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
        const reader = createMessageReader(MOST)
        const read: Buffer[] = []
        const pushed: Buffer[] = []
        try {
          for (const piece of pieces) {
            pushed.push(Buffer.from(piece))
            for (const { bytes } of reader.push(Buffer.from(piece))) read.push(Buffer.from(bytes))
          }
        } catch (error) {
          expect(isPgIamError(error, 'ERR_PROTOCOL')).toBe(true)
          return
        }
        expect(Buffer.concat([...read, reader.takeRest()]).equals(Buffer.concat(pushed))).toBe(true)
      }),
    )
  })

  it('copies a large message in small pieces once, not once for each piece', () => {
    const concat = jest.spyOn(Buffer, 'concat')
    const reader = createMessageReader(10_000_000)
    const large = message('d', Buffer.alloc(1_000_000))
    concat.mockClear()
    let messages = 0
    for (let at = 0; at < large.length; at += 1_000)
      messages += reader.push(large.subarray(at, at + 1_000)).length
    expect(messages).toBe(1)
    expect(concat.mock.calls.length).toBeLessThan(5)
  })
})

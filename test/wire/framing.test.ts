import * as fc from 'fast-check'
import { errorResponse, ServerError } from '../../wire/error-response.js'
import {
  createMessageReader,
  createReplyTracker,
  eachMessage,
  type Message,
  ProtocolViolation,
} from '../../wire/framing.js'
import { parameterStatus, readyForQuery } from '../../wire/messages.js'
import { message } from '../core/support/backend-messages.js'
import { thrownBy } from '../core/support/caught.js'
import { frontend, inChunks } from './frontend-messages.js'

const MOST = 1_000

/** A message of any type and content within the limit. */
const anyMessage = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 60 }))
  .map(([type, body]) => message(String.fromCharCode(type), Buffer.from(body)))

/** Splits `bytes` at `cuts`, which may repeat and so create empty chunks. */
function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [
    0,
    ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b),
    bytes.length,
  ]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

/** Copies the messages, since `push` returns views. */
const copies = (messages: Message[]): [number, string][] =>
  messages.map(({ type, bytes }) => [type, bytes.toString('hex')])

describe('createMessageReader', () => {
  it('returns the same messages however the bytes are split', () => {
    fc.assert(
      fc.property(fc.array(anyMessage), fc.array(fc.nat()), (messages, cuts) => {
        const reader = createMessageReader(MOST)
        const read = cutAt(Buffer.concat(messages), cuts).flatMap((piece) =>
          copies(reader.push(piece)),
        )
        expect(read).toEqual(messages.map((bytes) => [bytes[0], bytes.toString('hex')]))
      }),
    )
  })

  it('returns each message with the chunk that completes it', () => {
    fc.assert(
      fc.property(fc.array(anyMessage, { minLength: 1 }), fc.nat(), (messages, at) => {
        const all = Buffer.concat(messages)
        const cut = at % (all.length + 1)
        const reader = createMessageReader(MOST)
        let whole = 0
        const due = messages.filter((bytes) => (whole += bytes.length) <= cut)
        expect(reader.push(all.subarray(0, cut))).toHaveLength(due.length)
        expect(reader.push(all.subarray(cut))).toHaveLength(messages.length - due.length)
      }),
    )
  })

  it('accepts messages up to the limit, including type byte and length', () => {
    const largest = message('d', Buffer.alloc(MOST - 5))
    expect(createMessageReader(MOST).push(largest)).toHaveLength(1)
    const reader = createMessageReader(MOST)
    // The header is sufficient to reject a message, so its body is neither awaited nor buffered.
    expect(
      thrownBy(() => reader.push(message('d', Buffer.alloc(MOST - 4)).subarray(0, 5))),
    ).toMatchObject({
      name: 'ProtocolViolation',
      message: 'invalid message length 1000',
    })
  })

  it.each([0, 1, 2, 3, -1, -2_147_483_648, 2_147_483_647])('rejects the length %d', (length) => {
    const header = Buffer.from('Q\0\0\0\0')
    header.writeInt32BE(length, 1)
    expect(thrownBy(() => createMessageReader(MOST).push(header))).toMatchObject({
      name: 'ProtocolViolation',
      message: `invalid message length ${length}`,
    })
  })

  it('returns no messages for no bytes', () => {
    const reader = createMessageReader(MOST)
    expect(reader.push(Buffer.alloc(0))).toEqual([])
    expect(reader.push(Buffer.from('Z\0\0\0'))).toEqual([])
    expect(reader.push(Buffer.alloc(0))).toEqual([])
    expect(copies(reader.push(Buffer.from('\x05I')))).toEqual([
      [0x5a, message('Z', 'I').toString('hex')],
    ])
  })

  it('throws a ProtocolViolation for bytes that are not messages, and returns only bytes that it received', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
        const reader = createMessageReader(MOST)
        const all = Buffer.concat(pieces)
        let read = 0
        try {
          for (const piece of pieces) {
            for (const { bytes } of reader.push(Buffer.from(piece))) {
              expect(bytes.equals(all.subarray(read, read + bytes.length))).toBe(true)
              read += bytes.length
            }
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolViolation)
        }
      }),
    )
  })

  it('copies a large message that arrives in small chunks once, not once per chunk', () => {
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

describe('createReplyTracker', () => {
  it('finds the message boundaries, however the bytes are split', () => {
    const anyMessage = fc
      .tuple(fc.constantFrom('D', 'T', 'C', 'Z'), fc.uint8Array({ maxLength: 30 }))
      .map(([type, body]) => frontend(type, Buffer.from(body)))
    fc.assert(
      fc.property(
        fc.array(anyMessage, { minLength: 1, maxLength: 15 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (messages, cuts) => {
          const bytes = Buffer.concat(messages)
          const ends = new Set([0])
          messages.reduce((end, message) => {
            ends.add(end + message.length)
            return end + message.length
          }, 0)
          const tracker = createReplyTracker()
          let seen = 0
          for (const chunk of inChunks(bytes, cuts)) {
            tracker.push(chunk)
            seen += chunk.length
            expect(tracker.atBoundary).toBe(ends.has(seen))
          }
          expect(tracker.lastType).toBe(messages.at(-1)![0])
          expect(tracker.readyCount).toBe(messages.filter(([type]) => type === 0x5a).length)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('returns the type of the last message that started', () => {
    const tracker = createReplyTracker()
    tracker.push(Buffer.concat([parameterStatus('a', 'b'), readyForQuery('I')]))
    expect(tracker).toMatchObject({ lastType: 0x5a, readyCount: 1, atBoundary: true })
    const error = errorResponse(new ServerError('57P01', 'bye', { severity: 'FATAL' }))
    tracker.push(error.subarray(0, 8))
    expect(tracker).toMatchObject({ lastType: 0x45, atBoundary: false })
    tracker.push(error.subarray(8))
    expect(tracker).toMatchObject({ lastType: 0x45, atBoundary: true })
  })

  it('refuses a length below 4, and is then still where the chunk began', () => {
    for (const before of [readyForQuery('I'), readyForQuery('I').subarray(0, 5), Buffer.from('Z')])
      for (const length of [3, 0, -1, -(2 ** 31)]) {
        const tracker = createReplyTracker()
        tracker.push(before)
        const { atBoundary } = tracker
        const wrong = Buffer.alloc(10)
        wrong.writeInt32BE(length, before.length === 1 ? 0 : before.length === 5 ? 2 : 1)
        expect(() => tracker.push(wrong)).toThrow(ProtocolViolation)
        expect(tracker.atBoundary).toBe(atBoundary)
      }
  })
})

describe('eachMessage', () => {
  it.each([-1, -6, 0, 3, 6, 0x7fff_ffff])('ends with an error at the length %d', (length) => {
    const wrong = Buffer.concat([readyForQuery('I'), Buffer.from('S\0\0\0\u0004\0', 'latin1')])
    wrong.writeInt32BE(length, 7)
    const taken: Buffer[] = []
    expect(() => eachMessage(wrong, (each) => taken.push(each))).toThrow(ProtocolViolation)
    expect(taken).toEqual([readyForQuery('I')])
  })
})

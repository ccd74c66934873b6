import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import { ProtocolViolation } from '../../wire/framing.js'
import { createFrontendReader } from '../../wire/frontend.js'
import { anyFrontendMessage, frontend, inChunks, int16, int32, text } from './frontend-messages.js'

function read(chunks: readonly Buffer[], maxMessageBytes?: number): Buffer[] {
  const reader = createFrontendReader(maxMessageBytes)
  return chunks.flatMap((chunk) => reader.push(chunk) ?? [])
}

describe('createFrontendReader', () => {
  it('returns every well-formed message complete, however the bytes are split', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrontendMessage, { maxLength: 20 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (messages, cuts) => {
          const bytes = Buffer.concat(messages)
          const ends = new Set<number>()
          messages.reduce((end, message) => {
            ends.add(end + message.length)
            return end + message.length
          }, 0)
          let end = 0
          for (const part of read(inChunks(bytes, cuts))) {
            end += part.length
            expect(ends).toContain(end)
          }
          expect(Buffer.concat(read(inChunks(bytes, cuts))).equals(bytes)).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('accepts messages byte by byte', () => {
    const bytes = Buffer.concat([frontend('Q', text('select 1')), frontend('S')])
    const parts = read([...bytes].map((byte) => Buffer.of(byte)))
    expect(parts).toEqual([bytes.subarray(0, -5), bytes.subarray(-5)])
  })

  it('returns the messages before a Terminate and none after it', () => {
    const reader = createFrontendReader()
    const query = frontend('Q', text('select 1'))
    expect(reader.push(Buffer.concat([query, frontend('X'), query]))).toEqual(query)
    expect(reader.terminated).toBe(true)
    expect(reader.push(query)).toBeUndefined()
  })

  const nul = Buffer.of(0)
  const cases: [what: string, bytes: Buffer][] = [
    ['an unknown type', frontend('Z', text('x'))],
    ['a type of the server', frontend('R', int32(0))],
    ['a password', frontend('p', text('secret'))],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a startup packet', Buffer.concat([int32(9), int32(196_608), nul])],
    ['a length below 4', Buffer.concat([Buffer.from('Q'), int32(3), nul])],
    ['a negative length', Buffer.concat([Buffer.from('Q'), int32(-5), nul])],
    ['a length of 2 GB', Buffer.concat([Buffer.from('Q'), int32(0x7fff_ffff), nul])],
    ['a Sync with a body', frontend('S', nul)],
    ['a Sync of 10,001 bytes', Buffer.concat([Buffer.from('S'), int32(10_001)])],
    ['an Execute of 20,000 bytes', Buffer.concat([Buffer.from('E'), int32(20_000)])],
    ['a query without its end', frontend('Q', Buffer.from('select 1'))],
    ['a query with a NUL in it', frontend('Q', text('select 1\0 or 2'))],
    ['an empty query message', frontend('Q')],
    ['a Parse without types', frontend('P', nul, text('select 1'))],
    ['a Parse with fewer types than it says', frontend('P', nul, text('x'), int16(2), int32(23))],
    ['a Parse with more types than it says', frontend('P', nul, text('x'), int16(0), int32(23))],
    ['a Bind that ends after its names', frontend('B', nul, nul)],
    [
      'a Bind with a value that is cut off',
      frontend('B', nul, nul, int16(0), int16(1), int32(9), nul),
    ],
    [
      'a Bind with a value of length -2',
      frontend('B', nul, nul, int16(0), int16(1), int32(-2), int16(0)),
    ],
    [
      'a Bind with a value of 2 GB',
      frontend('B', nul, nul, int16(0), int16(1), int32(0x7fff_ffff), int16(0)),
    ],
    ['a Bind without result formats', frontend('B', nul, nul, int16(0), int16(0))],
    ['a Describe of neither statement nor portal', frontend('D', Buffer.from('X'), nul)],
    ['an empty Describe', frontend('D')],
    ['a Close without a name', frontend('C', Buffer.from('S'))],
    ['an Execute without a limit', frontend('E', nul)],
    ['a CopyFail without its end', frontend('f', Buffer.from('x'))],
    ['a CopyDone with a body', frontend('c', nul)],
    ['a function call that is cut off', frontend('F', int32(1), int16(0), int16(1))],
    ['a Terminate with a body', frontend('X', nul)],
  ]
  it.each(cases)('rejects %s', (_what, bytes) => {
    const sync = frontend('S')
    expect(() => read([Buffer.concat([sync, bytes])])).toThrow(ProtocolViolation)
  })

  it('rejects an unknown type as soon as its header has arrived', () => {
    const header = Buffer.concat([Buffer.from('!'), int32(1_000_000)])
    expect(() => read([header])).toThrow('invalid frontend message type 33')
  })

  it('accepts CopyData of any content up to the limit, and rejects anything above it', () => {
    const copy = frontend('d', Buffer.alloc(95))
    expect(read([copy], 100)).toEqual([copy])
    expect(() => read([frontend('d', Buffer.alloc(96))], 100)).toThrow('invalid message length')
  })

  it('returns a message that arrives in many chunks as one buffer', () => {
    const large = frontend('d', Buffer.alloc(3_000_000, 'x'))
    const chunks = Array.from({ length: Math.ceil(large.length / 65_536) }, (_, index) =>
      large.subarray(index * 65_536, (index + 1) * 65_536),
    )
    const [whole, ...more] = read(chunks)
    expect(more).toEqual([])
    expect(whole!.equals(large)).toBe(true)
  })

  it('buffers a message that arrives byte by byte without much overhead', () => {
    const reader = createFrontendReader()
    const grown = memoryGrownBy(() => {
      reader.push(Buffer.concat([Buffer.from('Q'), int32(1_000_000)]))
      for (let sent = 0; sent < 300_000; sent++) reader.push(chunkOf(1))
    })
    expect(reader.heldBytes).toBeGreaterThan(300_000)
    expect(reader.heldBytes).toBeLessThan(1_000_000)
    expect(grown).toBeLessThan(5_000_000)
  })

  it('does not keep a whole chunk in memory for the start of a message at its end', () => {
    const readers = Array.from({ length: 100 }, () => createFrontendReader())
    const message = frontend('d', Buffer.alloc(1_000_000))
    const grown = memoryGrownBy(() => {
      for (const reader of readers) {
        const chunk = chunkOf(message.length + 1)
        message.copy(chunk)
        chunk.write('Q', message.length)
        reader.push(chunk)
      }
    })
    expect(readers[0]!.heldBytes).toBeLessThan(100)
    expect(grown).toBeLessThan(5_000_000)
  })

  it('rejects a message above maxBufferedBytes, of any type, at its header', () => {
    const reader = createFrontendReader(undefined, 100)
    expect(reader.push(frontend('d', Buffer.alloc(95)))).toHaveLength(100)
    expect(() => reader.push(Buffer.concat([Buffer.from('d'), int32(100)]))).toThrow(
      expect.objectContaining({ sqlState: '54000', severity: 'FATAL' }),
    )
  })

  it('accepts or rejects arbitrary bytes, and never returns part of a message', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          for (const part of read([Buffer.from(bytes)])) {
            let offset = 0
            while (offset < part.length) offset += 1 + part.readInt32BE(offset + 1)
            expect(offset).toBe(part.length)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolViolation)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

/** A copy with its own memory, like chunks from a socket. */
function chunkOf(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length))
}

/** The memory in use after garbage collection, in bytes. */
function memoryGrownBy(work: () => void): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = (): number => {
    // The memory of buffers is released in the background, with the next collection at the latest.
    collect()
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = used()
  work()
  return used() - before
}

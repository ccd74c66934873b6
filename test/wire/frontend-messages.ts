/** Builds frontend messages, fixed ones and random ones for property tests. */
import * as fc from 'fast-check'

export function frontend(type: string, ...body: readonly Buffer[]): Buffer {
  const content = Buffer.concat(body)
  const header = Buffer.alloc(5)
  header.write(type, 'latin1')
  header.writeInt32BE(content.length + 4, 1)
  return Buffer.concat([header, content])
}

export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

const anyText = fc.string({ maxLength: 20 }).map((value) => text(value.replaceAll('\0', '')))
const anyBytes = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
const anyInt32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map(int32)
const formats = fc
  .array(fc.constantFrom(0, 1), { maxLength: 4 })
  .map((items) => Buffer.concat([int16(items.length), ...items.map(int16)]))
const types = fc
  .array(anyInt32, { maxLength: 4 })
  .map((items) => Buffer.concat([int16(items.length), ...items]))
const values = fc
  .array(fc.option(anyBytes), { maxLength: 4 })
  .map((items) =>
    Buffer.concat([
      int16(items.length),
      ...items.flatMap((item) => (item === null ? [int32(-1)] : [int32(item.length), item])),
    ]),
  )
const target = fc.constantFrom('S', 'P').map((kind) => Buffer.from(kind))

function of(type: string, ...parts: fc.Arbitrary<Buffer>[]): fc.Arbitrary<Buffer> {
  return fc.tuple(...parts).map((body) => frontend(type, ...body))
}

/** Every message that a client may send in a session, except Terminate. */
export const anyFrontendMessage: fc.Arbitrary<Buffer> = fc.oneof(
  of('Q', anyText),
  of('P', anyText, anyText, types),
  of('B', anyText, anyText, formats, values, formats),
  of('D', target, anyText),
  of('C', target, anyText),
  of('E', anyText, anyInt32),
  of('F', anyInt32, formats, values, fc.constantFrom(int16(0), int16(1))),
  of('d', anyBytes),
  of('f', anyText),
  of('S'),
  of('H'),
  of('c'),
)

/** Splits bytes into chunks at random positions. */
export function inChunks(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length))
}

import * as fc from 'fast-check'
import { ProtocolViolation } from '../../wire/framing.js'
import {
  PROTOCOL_3,
  sslRequestPacket,
  startupPacket,
  startupParameters,
} from '../../wire/startup.js'

const word = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\0'))
const value = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'))

describe('startupPacket', () => {
  it('writes a startup packet in the layout of the protocol', () => {
    const packet = startupPacket(
      new Map([
        ['user', 'app'],
        ['database', 'é'],
      ]),
    )
    expect(packet.toString('latin1')).toBe('\0\0\0\x1e\0\x03\0\0user\0app\0database\0\xc3\xa9\0\0')
    expect(packet.readInt32BE(0)).toBe(packet.length)
  })

  it('writes the given protocol version', () => {
    expect(startupPacket(new Map()).readInt32BE(4)).toBe(PROTOCOL_3)
    expect(startupPacket(new Map(), 0x0003_0002).readInt32BE(4)).toBe(0x0003_0002)
  })

  it.each([
    ['application_name', 'web\0options\0-c x=y', 'application_name'],
    ['x\0user', 'admin', 'x'],
  ])('is not written with a NUL in %j or its value %j', (name, text, shown) => {
    expect(() => startupPacket(new Map([[name, text]]))).toThrow(
      new ProtocolViolation(`"${shown}" must not contain a NUL`),
    )
  })

  it('writes packets that startupParameters can parse', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(word, value), { selector: ([name]) => name }),
        (entries) => {
          const read = startupParameters(startupPacket(new Map(entries)))
          expect(read === undefined ? undefined : [...read]).toEqual(entries)
        },
      ),
    )
  })
})

describe('startupParameters', () => {
  const header = Buffer.from([0, 0, 0, 0, 0, 3, 0, 0])

  it.each([
    ['', undefined],
    ['\0', []],
    ['user\0app\0\0', [['user', 'app']]],
    ['user\0\0\0', [['user', '']]],
    ['user\0a\0user\0b\0\0', [['user', 'b']]],
    ['user\0app\0', undefined],
    ['user\0app', undefined],
    ['user\0', undefined],
    ['user', undefined],
    ['user\0app\0\0x', undefined],
    ['\0\0', undefined],
  ])('parses %j as %j', (body, parameters) => {
    const read = startupParameters(Buffer.concat([header, Buffer.from(body)]))
    expect(read === undefined ? undefined : [...read]).toEqual(parameters)
  })

  it('parses or rejects arbitrary bytes without throwing', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (body) => {
        const read = startupParameters(Buffer.concat([header, Buffer.from(body)]))
        if (read !== undefined) expect(body.at(-1)).toBe(0)
      }),
    )
  })
})

describe('sslRequestPacket', () => {
  it('returns a new SSLRequest packet for each call', () => {
    expect(sslRequestPacket().toString('hex')).toBe('0000000804d2162f')
    expect(sslRequestPacket()).not.toBe(sslRequestPacket())
  })
})

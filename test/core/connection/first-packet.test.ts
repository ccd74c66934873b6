import * as fc from 'fast-check'
import { createFirstPacket } from '../../../core/connection/first-packet.js'
import { message } from '../support/backend-messages.js'
import { startup } from '../support/raw-client.js'

const PACKET = startup({ user: 'app', database: 'shop' })
const leftover = fc
  .tuple(fc.constantFrom('Q', 'P', 'B', 'X'), fc.uint8Array({ maxLength: 30 }))
  .map(([type, body]) => message(type, Buffer.from(body)))

describe('createFirstPacket', () => {
  it('finds the packet once it is whole, however it was cut, and drops messages in front of it', () => {
    fc.assert(
      fc.property(fc.array(leftover), fc.array(fc.nat()), (messages, cuts) => {
        const bytes = Buffer.concat([...messages, PACKET])
        const places = [...cuts.map((cut) => cut % bytes.length), bytes.length].toSorted(
          (a, b) => a - b,
        )
        const finder = createFirstPacket()
        let from = 0
        for (const [index, to] of places.entries()) {
          const found = finder.push(bytes.subarray(from, to))
          from = to
          if (index < places.length - 1 && to < bytes.length) expect(found).toBeUndefined()
          if (to === bytes.length) {
            expect(found?.equals(PACKET)).toBe(true)
            return
          }
        }
      }),
    )
  })

  it('waits for more than a header', () => {
    const finder = createFirstPacket()
    expect(finder.push(PACKET.subarray(0, 7))).toBeUndefined()
    expect(finder.push(PACKET.subarray(7))?.equals(PACKET)).toBe(true)
  })
})

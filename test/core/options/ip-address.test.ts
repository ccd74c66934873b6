import { isIP } from 'node:net'
import * as fc from 'fast-check'
import { isIpAddress } from '../../../core/options/ip-address.js'

describe('isIpAddress', () => {
  it('says what Node says, whatever comes', () => {
    const almost = fc.string({ unit: fc.constantFrom('1', '255', '.', ':', 'f', '%', 'lo', 'z') })
    const text = fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), fc.domain(), almost, fc.string())
    fc.assert(
      fc.property(text, (host) => {
        expect(isIpAddress(host)).toBe(isIP(host) !== 0)
      }),
      { numRuns: 2_000 },
    )
  })
})

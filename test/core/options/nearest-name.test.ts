import * as fc from 'fast-check'
import { nearestName } from '../../../core/options/nearest-name.js'

describe('nearestName', () => {
  const known = ['host', 'port', 'user', 'username', 'tokenDurationSecs', 'reuseTokenSecs']

  it.each([
    ['hots', 'host'],
    ['hst', 'host'],
    ['Host', 'host'],
    ['prot', 'port'],
    ['usr', 'user'],
    ['userName', 'username'],
    ['tokenDuration', 'tokenDurationSecs'],
    ['reuseTokenSeconds', 'reuseTokenSecs'],
    ['sett', undefined],
    ['password', undefined],
    ['', undefined],
  ])('finds for %j: %j', (name, nearest) => {
    expect(nearestName(name, known)).toBe(nearest)
  })

  it('finds every known name for itself', () => {
    for (const name of known) expect(nearestName(name, known)).toBe(name)
  })

  it('finds a name of four letters or more when one letter is missing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.nat(), (name, at) => {
        const cut = at % name.length
        expect(nearestName(name.slice(0, cut) + name.slice(cut + 1), [name])).toBe(name)
      }),
    )
  })
})

import { createSeededRandom } from '../../../bench/common/seeded-random.js'

const draw = (seed: number, count: number): number[] =>
  Array.from({ length: count }, createSeededRandom(seed))

describe('createSeededRandom', () => {
  it('gives the same numbers for the same seed, and others for another', () => {
    expect(draw(7, 100)).toEqual(draw(7, 100))
    expect(draw(7, 5)).not.toEqual(draw(8, 5))
  })

  it('gives numbers from 0 up to 1, evenly', () => {
    const numbers = draw(1, 100_000)
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...numbers)).toBeLessThan(1)
    const tenths = Array.from(
      { length: 10 },
      (_, tenth) => numbers.filter((number) => Math.floor(number * 10) === tenth).length,
    )
    for (const count of tenths) expect(Math.abs(count - 10_000)).toBeLessThan(400)
  })
})

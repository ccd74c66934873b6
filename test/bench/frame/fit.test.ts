import { fitCurve } from '../../../bench/frame/fit.js'

const pointsOf = (count: number, y: (x: number) => number): { x: number; y: number }[] =>
  Array.from({ length: count }, (_, index) => ({ x: index + 1, y: y(index + 1) }))

describe('fitCurve, by slope', () => {
  it('finds the slope of a line, whatever it begins with', () => {
    expect(
      fitCurve(
        'slope',
        pointsOf(9, (x) => 1_000 - 3 * x),
      ),
    ).toEqual({
      whole: -3,
      firstHalf: -3,
      secondHalf: -3,
      secondHalfError: 0,
    })
  })

  it('tells what stops growing from what begins to', () => {
    const stops = fitCurve(
      'slope',
      pointsOf(11, (x) => Math.min(x, 6)),
    )
    expect(stops).toMatchObject({ firstHalf: 1, secondHalf: 0 })
    const begins = fitCurve(
      'slope',
      pointsOf(11, (x) => Math.max(x, 6)),
    )
    expect(begins).toMatchObject({ firstHalf: 0, secondHalf: 1 })
    expect(begins.whole).toBeGreaterThan(0)
  })

  it('says how uncertain it is, as R does for a linear model', () => {
    // summary(lm(c(1, 3, 2, 5) ~ c(4, 5, 6, 7)))
    const points = [...pointsOf(3, () => 0), ...[1, 3, 2, 5].map((y, x) => ({ x: x + 4, y }))]
    const { secondHalf, secondHalfError } = fitCurve('slope', points)
    expect(secondHalf).toBeCloseTo(1.1)
    expect(secondHalfError).toBeCloseTo(0.5196, 4)
  })

  it('knows no error of two points', () => {
    expect(
      fitCurve(
        'slope',
        pointsOf(3, (x) => x),
      ),
    ).not.toHaveProperty('secondHalfError')
  })

  it('refuses what has no line', () => {
    expect(() => fitCurve('slope', [{ x: 1, y: 1 }])).toThrow('no line through less than two')
    const upright = [1, 2, 3].map((y) => ({ x: 1, y }))
    expect(() => fitCurve('slope', upright)).toThrow('no line through less than two')
  })
})

describe('fitCurve, by exponent', () => {
  it('finds the exponent of a power, whatever its factor', () => {
    expect(
      fitCurve(
        'exponent',
        pointsOf(9, (x) => 7 * x ** 2),
      ).whole,
    ).toBeCloseTo(2)
    expect(
      fitCurve(
        'exponent',
        pointsOf(9, (x) => 7 / x),
      ).secondHalf,
    ).toBeCloseTo(-1)
    expect(
      fitCurve(
        'exponent',
        pointsOf(9, () => 7),
      ).whole,
    ).toBeCloseTo(0)
  })

  it('sees in the second half what costs more only in the end', () => {
    const decades = [10, 100, 1_000, 10_000, 100_000]
    const { firstHalf, secondHalf } = fitCurve(
      'exponent',
      decades.map((x) => ({ x, y: 50 + x / 1_000 })),
    )
    expect(firstHalf).toBeLessThan(0.02)
    expect(secondHalf).toBeGreaterThan(0.2)
  })

  it('refuses what has no logarithm', () => {
    expect(() =>
      fitCurve(
        'exponent',
        pointsOf(4, (x) => x - 2),
      ),
    ).toThrow('(1, -1)')
    expect(() => fitCurve('exponent', [0, 1, 2].map((x) => ({ x, y: 1 })))).toThrow('(0, 1)') // prettier-ignore
  })
})

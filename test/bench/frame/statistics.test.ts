import * as fc from 'fast-check'
import { pairedRatios, summarize } from '../../../bench/frame/statistics.js'

describe('summarize', () => {
  it('gives median and quartiles as R, NumPy and spreadsheets do', () => {
    expect(summarize([7, 15, 36, 39, 40, 41])).toEqual({
      least: 7,
      lowerQuartile: 20.25,
      median: 37.5,
      upperQuartile: 39.75,
      most: 41,
    })
    expect(summarize([1, 2, 3, 4, 5])).toMatchObject({
      lowerQuartile: 2,
      median: 3,
      upperQuartile: 4,
    })
  })

  it('sorts by number, and leaves the samples as they are', () => {
    const samples = [100, 9, 20]
    expect(summarize(samples)).toMatchObject({ least: 9, median: 20, most: 100 })
    expect(samples).toEqual([100, 9, 20])
  })

  it('of one sample is that sample', () => {
    expect(new Set(Object.values(summarize([5])))).toEqual(new Set([5]))
  })

  it('is in order, between the least and the most', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (samples) => {
        const { least, lowerQuartile, median, upperQuartile, most } = summarize(samples)
        const ordered = [least, lowerQuartile, median, upperQuartile, most]
        expect(ordered).toEqual(ordered.toSorted((one, other) => one - other))
        expect([least, most]).toEqual([Math.min(...samples), Math.max(...samples)])
      }),
    )
  })

  it('has nothing to say of no samples', () => {
    expect(() => summarize([])).toThrow('there are no samples')
  })
})

describe('pairedRatios', () => {
  it('compares the samples of each round', () => {
    expect(pairedRatios([2, 30, 4], [1, 10, 8])).toEqual([2, 3, 0.5])
  })

  it('refuses samples of other rounds', () => {
    expect(() => pairedRatios([1, 2], [1])).toThrow('the rounds are not the same')
  })
})

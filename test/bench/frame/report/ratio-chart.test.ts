import { ratioChart } from '../../../../bench/frame/report/ratio-chart.js'
import { summarize } from '../../../../bench/frame/statistics.js'
import { section } from './section.js'

/** The numbers of all elements that a pattern finds. */
function numbersOf(chart: string, pattern: RegExp): number[][] {
  return [...chart.matchAll(pattern)].map(([, ...numbers]) => numbers.map(Number))
}

function textsOf(chart: string): (string | undefined)[] {
  return [...chart.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, content]) => content)
}

const DOTS = /<circle cx="([\d.]+)" cy="([\d.]+)"/g
const WHISKERS = /<path d="M([\d.]+) ([\d.]+)H([\d.]+)"/g

const others = ['AWS connector', 'another one'].map((name) => ({
  name,
  samples: [1],
  figure: summarize([1]),
  ratio: summarize([0.5]),
}))
/** Several competitors, and one in each comparison that is not the same. */
const several = {
  ...section,
  comparisons: section.comparisons.map((comparison) => ({
    ...comparison,
    results: [...comparison.results, ...others],
  })),
}
const different = {
  ...section,
  comparisons: section.comparisons.map((comparison, index) => ({
    ...comparison,
    results: [...comparison.results.slice(0, 2), others[index]!],
  })),
}
const otherBaseline = {
  ...section,
  comparisons: section.comparisons.map((comparison, index) =>
    index === 0 ? comparison : { ...comparison, baseline: 'static, again', control: 'static' },
  ),
}

describe('the chart of a section', () => {
  const chart = ratioChart(several)

  it('names its comparisons and competitors, but for the baseline, as text that is safe in XML', () => {
    expect(textsOf(chart)).toEqual(
      expect.arrayContaining([
        'Queries &lt;through&gt; pools',
        'pg, 1 task, against static',
        'pg, 5 tasks, against static',
        'static, again',
        'pg-iam',
        'AWS connector',
        '2.00',
      ]),
    )
    expect(textsOf(chart)).not.toContain('static')
  })

  it('has a dot for each median between its quartiles, to scale', () => {
    const dots = numbersOf(chart, DOTS)
    const whiskers = numbersOf(chart, WHISKERS)
    expect(dots).toHaveLength(8)
    expect(whiskers).toHaveLength(8)
    const one = dots[0]![0]!
    const two = dots[1]![0]!
    const perRatio = two - one
    const [left, y, right] = whiskers[1]!
    expect(y).toBe(dots[1]![1])
    expect(left).toBeCloseTo(two - perRatio / 4, 0)
    expect(right).toBeCloseTo(two + perRatio / 4, 0)
    const baseline = numbersOf(chart, /<path d="M([\d.]+) [\d.]+V[\d.]+" stroke="#333"/g)
    expect(baseline).toEqual([[one]])
  })
})

describe('the chart of a section with one competitor of all', () => {
  const chart = ratioChart(section)

  it('has one row for each comparison, before the spread of its control', () => {
    expect(textsOf(chart)).toEqual(
      expect.arrayContaining([
        'pg, 1 task',
        'pg, 5 tasks',
        'Median and quartiles of pg-iam against static; grey: static against itself',
      ]),
    )
    expect(textsOf(chart)).not.toContain('static, again')
    const dots = numbersOf(chart, DOTS)
    expect(dots).toHaveLength(2)
    const bands = numbersOf(
      chart,
      /<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g,
    )
    expect(bands).toHaveLength(2)
    for (const [index, [, top, , height]] of bands.entries()) {
      expect(dots[index]![1]).toBeGreaterThan(top!)
      expect(dots[index]![1]).toBeLessThan(top! + height!)
    }
    const [[one]] = numbersOf(chart, /<path d="M([\d.]+) [\d.]+V[\d.]+" stroke="#333"/g) as [
      number[],
    ]
    const [left, , width] = bands[0]!
    expect(left! + width! / 2).toBeCloseTo(one!, 0)
    expect(width! / (dots[0]![0]! - one!)).toBeCloseTo(0.1, 1)
  })

  it('is not drawn where the competitors or the baselines differ', () => {
    expect(textsOf(ratioChart(different))).toContain('pg, 1 task, against static')
    expect(textsOf(ratioChart(otherBaseline))).toContain('pg, 1 task, against static')
  })
})

describe.each([
  ['one competitor', section],
  ['several competitors', several],
])('the chart of a section with %s', (_, drawn) => {
  it('keeps everything inside of it', () => {
    const chart = ratioChart(drawn)
    const [[width, height]] = numbersOf(chart, /viewBox="0 0 ([\d.]+) ([\d.]+)"/g) as [number[]]
    const places = numbersOf(chart, /<(?:text x|circle cx)="([\d.]+)" c?y="([\d.]+)"/g)
    expect(places.length).toBeGreaterThan(4)
    for (const [x, y] of places) {
      expect(x).toBeLessThan(width!)
      expect(y).toBeLessThan(height!)
    }
  })
})

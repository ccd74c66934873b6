import { ratioChart } from '../../../../bench/frame/report/ratio-chart.js'
import { section } from './section.js'

/** The numbers of all elements that a pattern finds. */
function numbersOf(chart: string, pattern: RegExp): number[][] {
  return [...chart.matchAll(pattern)].map(([, ...numbers]) => numbers.map(Number))
}

const chart = ratioChart(section)

describe('the chart of a section', () => {
  it('names its comparisons and competitors, but for the baseline, as text that is safe in XML', () => {
    const texts = [...chart.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, content]) => content)
    expect(texts).toEqual(
      expect.arrayContaining([
        'Queries &lt;through&gt; pools',
        'pg, 1 task, against static',
        'pg, 5 tasks, against static',
        'static, again',
        'pg-iam',
        '2.00',
      ]),
    )
    expect(texts).not.toContain('static')
  })

  it('has a dot for each median between its quartiles, to scale', () => {
    const dots = numbersOf(chart, /<circle cx="([\d.]+)" cy="([\d.]+)"/g)
    const whiskers = numbersOf(chart, /<path d="M([\d.]+) ([\d.]+)H([\d.]+)"/g)
    expect(dots).toHaveLength(4)
    expect(whiskers).toHaveLength(4)
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

  it('keeps everything inside of it', () => {
    const [[width, height]] = numbersOf(chart, /viewBox="0 0 ([\d.]+) ([\d.]+)"/g) as [number[]]
    const places = numbersOf(chart, /<(?:text x|circle cx)="([\d.]+)" c?y="([\d.]+)"/g)
    for (const [x, y] of places) {
      expect(x).toBeLessThan(width!)
      expect(y).toBeLessThan(height!)
    }
  })
})

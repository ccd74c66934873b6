import { lineChart, type LineChart } from '../../../../bench/common/report/line-chart.js'

const CHART: LineChart = {
  title: 'a < b & c',
  x: { label: 'seconds', from: 0, to: 10, tickEvery: 5 },
  panels: [
    {
      title: 'linear',
      scale: 'linear',
      top: 100,
      lines: [
        { name: 'first', colour: '#111', points: [[0, 0], [5, 50], [10, 100]] }, // prettier-ignore
        { name: 'second', colour: '#222', points: [[0, 100]], isDashed: true },
      ],
    },
    {
      title: 'logarithmic',
      scale: 'logarithmic',
      top: 1_000,
      lines: [{ name: 'first', colour: '#111', points: [[0, 0], [5, 1], [10, 1_000]] }], // prettier-ignore
    },
  ],
}

const heights = (svg: string): number[][] =>
  [...svg.matchAll(/<polyline points="([^"]*)"/g)].map((match) =>
    (match[1] as string).split(',').map((point) => Number(point.split(' ')[1])),
  )

describe('lineChart', () => {
  const svg = lineChart(CHART)

  it('has elements that are all closed, and no character of XML in its texts', () => {
    const open: string[] = []
    for (const [, isEnd, name, isEmpty] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
      if (isEmpty === '/') continue
      if (isEnd === '') open.push(name as string)
      else expect(open.pop()).toBe(name)
    }
    expect(open).toEqual([])
    expect(svg).toContain('<title>a &lt; b &amp; c</title>')
  })

  it('has one line for each series, and one entry in the legend for each name', () => {
    expect(heights(svg)).toHaveLength(3)
    expect(svg.match(/>first</g)).toHaveLength(1)
    expect(svg.match(/>second</g)).toHaveLength(1)
  })

  it('places values in proportion on a linear scale', () => {
    const [low, middle, high] = heights(svg)[0] as [number, number, number]
    expect(middle).toBeCloseTo((low + high) / 2)
    expect(high).toBeLessThan(low)
  })

  it('shows zero at the bottom of a logarithmic scale', () => {
    const [zero, one, top] = heights(svg)[2] as [number, number, number]
    expect(zero).toBe(one)
    expect(top).toBeLessThan(one)
    expect(svg).toContain('≤ 1<')
  })

  it('has no number that is none', () => {
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('begins a new row of the legend where the first is full', () => {
    const lines = Array.from({ length: 12 }, (_, index) => ({
      name: `a rather long name ${index}`,
      colour: '#111',
      points: [] as [number, number][],
    }))
    const wide = lineChart({ ...CHART, panels: [{ title: '', scale: 'linear', top: 1, lines }] })
    const places = [...wide.matchAll(/<text x="([\d.]+)"[^>]*>a rather/g)].map((match) =>
      Number(match[1]),
    )
    expect(places).toHaveLength(12)
    expect(Math.max(...places)).toBeLessThan(760 - 100)
  })
})

import * as fc from 'fast-check'
import { curveChart, niceRange } from '../../../../bench/frame/report/curve-chart.js'
import type { CurveSection } from '../../../../bench/frame/benchmark.js'
import { curveSection } from './curve-section.js'

interface Drawn {
  readonly x: readonly number[]
  readonly y: readonly number[]
}

function linesOf(chart: string): Drawn[] {
  return [...chart.matchAll(/<polyline points="([^"]*)"/g)].map(([, points]) => {
    const places = points!.split(',').map((point) => point.split(' ').map(Number))
    return { x: places.map(([x]) => x!), y: places.map(([, y]) => y!) }
  })
}

describe('the chart of curves', () => {
  const chart = curveChart(curveSection)

  it('has equal steps for equal factors on a logarithmic axis', () => {
    const [first, second] = linesOf(chart)
    const [ten, hundred, thousand] = first!.x
    expect(hundred! - ten!).toBeCloseTo(thousand! - hundred!)
    expect(second!.x).toEqual([ten, hundred])
    const labels = [...chart.matchAll(/text-anchor="middle">([\d,]+)</g)].map(([, label]) => label)
    expect(labels).toEqual(['10', '100', '1,000'])
  })

  it('has equal steps for equal differences on a linear one, below nothing, too', () => {
    const points = [-10, 0, 10].map((y, x) => ({ x, y }))
    const [one] = curveSection.curves
    const { scale: _scale, ...x } = curveSection.x
    const [line] = linesOf(curveChart({ ...curveSection, x, curves: [{ ...one!, points }] }))
    expect(line!.x[1]! - line!.x[0]!).toBeCloseTo(line!.x[2]! - line!.x[1]!)
    expect(line!.y[0]! - line!.y[1]!).toBeCloseTo(line!.y[1]! - line!.y[2]!)
    expect(line!.y[2]).toBeLessThan(line!.y[0]!)
  })

  it('dashes what the others are compared with, in the colour of those', () => {
    const strokes = [...chart.matchAll(/<polyline [^>]*stroke="(#\w+)"[^>]*>/g)]
    expect(strokes.map(([element]) => element.includes('stroke-dasharray'))).toEqual([true, false])
    expect(strokes[0]![1]).toBe(strokes[1]![1])
  })

  it('tells curves that are not compared apart', () => {
    const curves = curveSection.curves.map(({ against: _against, ...one }) => one)
    const apart: CurveSection = { ...curveSection, curves }
    const colours = [...curveChart(apart).matchAll(/<polyline [^>]*stroke="(#\w+)"/g)]
    expect(new Set(colours.map(([, colour]) => colour)).size).toBe(2)
  })

  it('is drawn of curves that are flat at nothing', () => {
    const points = [0, 1, 2].map((x) => ({ x, y: 0 }))
    const { scale: _scale, ...x } = curveSection.x
    const curves = curveSection.curves.map((one) => ({ ...one, points }))
    expect(curveChart({ ...curveSection, x, curves })).not.toMatch(/NaN|Infinity|undefined/)
  })
})

describe('niceRange', () => {
  it('counts as people do', () => {
    expect(niceRange(0, 100)).toEqual({ bottom: 0, top: 100 })
    expect(niceRange(0, 101)).toEqual({ bottom: 0, top: 200 })
    expect(niceRange(-3, 17)).toEqual({ bottom: -10, top: 30 })
  })

  it('holds everything', () => {
    const value = fc.integer()
    fc.assert(
      fc.property(value, value, (one, other) => {
        const [least, most] = [Math.min(one, other), Math.max(one, other)]
        const { bottom, top } = niceRange(least, most)
        expect(bottom).toBeLessThanOrEqual(least)
        expect(top).toBeGreaterThanOrEqual(most)
      }),
    )
  })
})

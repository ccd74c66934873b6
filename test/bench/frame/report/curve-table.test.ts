import { curveTable } from '../../../../bench/frame/report/curve-table.js'
import { curveSection } from './curve-section.js'

describe('the table of curves', () => {
  it('has the points of each curve where it has one, and how it grows', () => {
    expect(curveTable(curveSection)).toEqual({
      title: 'Connections <at once> (time for one, ms)',
      head: ['connections', '10', '100', '1,000', 'exponent', 'first half', 'second half', '±'],
      rows: [
        ['static', '1.50', '1.00', '2.00', '0.06', '-0.18', '0.30', '0.01'],
        ['pg-iam', '3.00', '123', '', '1.61', '1.61', '1.61', ''],
      ],
    })
  })

  it('leaves out points in between where there are many', () => {
    const points = Array.from({ length: 26 }, (_, x) => ({ x, y: -12.34 * x }))
    const [first] = curveSection.curves
    const table = curveTable({ ...curveSection, fit: 'slope', curves: [{ ...first!, points }] })
    expect(table.head.slice(0, 9)).toEqual([
      'connections',
      '0',
      '4',
      '8',
      '13',
      '17',
      '21',
      '25',
      'slope', // prettier-ignore
    ])
    expect(table.rows[0]!.slice(0, 4)).toEqual(['static', '0', '-49.4', '-98.7'])
  })
})

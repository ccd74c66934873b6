import { sectionTable } from '../../../../bench/frame/report/tables.js'
import { section } from './section.js'

describe('the table of a section', () => {
  it('has the figure of each competitor, and its ratio with the spread', () => {
    const { title, head, nameColumns, rows } = sectionTable(section)
    expect(title).toBe('Queries <through> pools (queries/s, more is better)')
    expect(head).toEqual(['', '', 'median', 'quartiles', 'ratio', 'quartiles', 'least – most'])
    expect(nameColumns).toBe(2)
    expect(rows).toHaveLength(6)
    expect(rows.slice(0, 3)).toEqual([
      ['pg, 1 task', 'static', '1,235', '1,235 – 1,235', '1.00', '1.00 – 1.00', '1.00 – 1.00'],
      ['', 'static, again (control)', '98.8', '98.8 – 98.8', '1.00', '0.95 – 1.05', '0.90 – 1.10'],
      ['', 'pg-iam', '2.00', '1.50 – 2.50', '2.00', '1.75 – 2.25', '1.50 – 2.50'],
    ])
    expect(rows[3]![0]).toBe('pg, 5 tasks')
  })

  it('has all counts, and nothing where one was not counted', () => {
    const table = sectionTable({
      kind: 'counts',
      name: 'counts',
      title: 'Counts',
      notes: [],
      rows: [
        { name: 'one', counts: { tokens: 1_000 } },
        { name: 'other', counts: { tokens: 5, calls: 1 } },
      ],
    })
    expect(table).toEqual({
      title: 'Counts',
      head: ['', 'tokens', 'calls'],
      rows: [
        ['one', '1,000', ''],
        ['other', '5', '1'],
      ],
    })
  })
})

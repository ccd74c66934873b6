import { growthSections, type Grown } from '../../../bench/memory/growth-sections.js'

/** So many bytes more of each measure for each connection, from amounts that are nobody's business. */
function grown(
  name: string,
  each: { objects: number; code?: number; external?: number; resident?: number },
): Grown {
  const { objects, code = 0, external = 0, resident = 0 } = each
  return {
    name,
    samples: Array.from({ length: 6 }, (_, index) => {
      const done = index * 1_000
      return {
        done,
        objects: 5_000_000 + done * objects,
        // Compiled in the first half only.
        code: 700_000 + Math.min(done, 2_000) * code,
        external: 900 + done * external,
        resident: 60_000_000 + done * resident,
      }
    }),
  }
}

const ours = grown('pg, pg-iam', { objects: 12, code: 4, external: -1, resident: 100 })
const sections = growthSections(
  'connections',
  [{ ...ours, against: 'pg, static' }, grown('pg, static', { objects: 0 })],
  ['how'],
)

describe('the sections of growth', () => {
  it('are one for each measure, of all that has grown', () => {
    expect(sections.map(({ name }) => name)).toEqual([
      'connections-heap',
      'connections-external',
      'connections-resident',
    ])
    for (const { curves, fit, title, notes } of sections) {
      expect(curves.map(({ name, against }) => [name, against])).toEqual([
        ['pg, pg-iam', 'pg, static'],
        ['pg, static', undefined],
      ])
      expect(fit).toBe('slope')
      expect(title).toContain('over 5,000 connections')
      expect(notes[0]).toBe('how')
    }
  })

  it('begin at nothing, and have bytes for one as their slopes', () => {
    const slopes = sections.map(({ curves }) => curves.map(({ fit }) => fit.secondHalf))
    expect(slopes).toEqual([
      [12, 0],
      [-1, 0],
      [100, 0],
    ])
    const { points } = sections[0]!.curves[0]!
    expect(points[0]).toEqual({ x: 0, y: 0 })
    expect(points.at(-1)).toEqual({ x: 5, y: 60 })
  })

  it('say what compiled code has grown by apart from it', () => {
    expect(sections[0]!.notes.at(-1)).toContain(
      'pg, pg-iam 8 in the first half and 0 in the second; pg, static 0 in the first half',
    )
  })
})

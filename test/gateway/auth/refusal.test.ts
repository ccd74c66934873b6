import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const SOURCE = readFileSync(join(__dirname, '../../../gateway/auth/refusal.ts'), 'utf8')

/** The matches of the pattern's first group without duplicates, and their number. */
function found(pattern: RegExp): { names: Set<string | undefined>; count: number } {
  const names = [...SOURCE.matchAll(pattern)].map(([, name]) => name)
  return { names: new Set(names), count: names.length }
}

describe('RefusalReason', () => {
  it('has one row in the table for each of its reasons', () => {
    const declared = found(/^ {2}\| '([a-z-]+)'$/gm)
    expect(declared.count).toBeGreaterThan(30)
    expect(found(/^ \* \| `([a-z-]+)` \| \S/gm)).toEqual(declared)
  })
})

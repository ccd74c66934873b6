import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findPgbench } from '../../../bench/gateway/pgbench/find-pgbench.js'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-iam-pgbench-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Resolves with a folder that has a pgbench which does this. */
async function folderWith(name: string, script: string, mode = 0o755): Promise<string> {
  const directory = join(folder, name)
  await mkdir(directory)
  await writeFile(join(directory, 'pgbench'), `#!/bin/sh\n${script}\n`, { mode })
  return directory
}

describe('findPgbench', () => {
  it('takes the first that can be run, and tells its version', async () => {
    const locked = await folderWith('locked', 'echo "pgbench (PostgreSQL) 18.1"', 0o644)
    const broken = await folderWith('broken', 'echo no shared library >&2; exit 127')
    const other = await folderWith('other', 'echo "another program 2.0"')
    const good = await folderWith('good', 'echo "pgbench (PostgreSQL) 15.14 (Debian 15.14-1)"')
    const later = await folderWith('later', 'echo "pgbench (PostgreSQL) 17.6"')
    const missing = join(folder, 'missing')
    expect(await findPgbench([missing, locked, broken, other, good, later])).toEqual({
      file: join(good, 'pgbench'),
      version: '15.14',
    })
  })

  it('finds nothing where there is none', async () => {
    expect(await findPgbench([join(folder, 'missing'), folder])).toBeUndefined()
  })
})

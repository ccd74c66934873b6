import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { copyPackageBinaries } from './copy-package-binaries.js'
import { npmBinariesDirectory } from './find-binaries.js'
import { serverUser } from './server-user.js'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pg-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

describe('copyPackageBinaries', () => {
  it('completes a package that was installed without its install script', async () => {
    const unlinked = join(folder, 'unlinked')
    await copyPackageBinaries(npmBinariesDirectory(), unlinked, undefined)
    const links: { target: string }[] = JSON.parse(
      readFileSync(join(unlinked, 'pg-symlinks.json'), 'utf8'),
    )
    for (const { target } of links)
      rmSync(join(unlinked, '..', target.replace('native/', 'unlinked/')))

    const copy = join(folder, 'copy')
    await copyPackageBinaries(unlinked, copy, undefined)
    const version = execFileSync(join(copy, 'bin', 'postgres'), ['--version'], { encoding: 'utf8' })
    expect(version).toMatch(/^postgres \(PostgreSQL\) \d+/)
  })

  it('gives folders and files to their new owner', async () => {
    const owner = await serverUser()
    const copy = join(folder, 'copy')
    await copyPackageBinaries(npmBinariesDirectory(), copy, owner)
    for (const path of ['', 'lib', 'bin/postgres']) {
      expect(statSync(join(copy, path)).uid).toBe(owner?.uid ?? process.getuid?.())
    }
  })
})

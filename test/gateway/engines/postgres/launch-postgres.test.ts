import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Client, type ClientConfig } from 'pg'
import { SILENT } from '../../../../core/events.js'
import { createCertificates } from '../../../../gateway/certificates.js'
import { launchPostgres as launchBare } from '../../../../gateway/engines/postgres/launch-postgres.js'
import {
  launchPostgres,
  type LaunchPostgresOptions,
  type PostgresServer,
} from '../../../support/launch-postgres.js'

// Thousands of files are written, which takes long on a busy machine.
jest.setTimeout(300_000)

const opened: { close(): Promise<void> }[] = []
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pg-'))
  // Root's server runs as another user.
  chmodSync(folder, 0o1777)
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close()))
  rmSync(folder, { recursive: true })
})

async function launch(options?: LaunchPostgresOptions): Promise<PostgresServer> {
  const server = await launchPostgres(options)
  opened.push(server)
  return server
}

describe('a launched PostgreSQL server', () => {
  it('accepts every role without a password on the socket, and with a password over TCP', async () => {
    const server = await launch({ roles: ['app', 'Mixed "Case"'], database: 'shop' })
    const onSocket = { host: server.socketDirectory }
    const overTcp = { host: server.host, password: server.password }
    for (const user of [server.superuser, 'app', 'Mixed "Case"']) {
      const identity = { current_user: user, current_database: 'shop' }
      expect(await query(server, { user, ...onSocket }, WHO)).toEqual([identity])
      expect(await query(server, { user, ...overTcp }, WHO)).toEqual([identity])
    }
    const wrong = query(server, { user: 'app', host: server.host, password: 'wrong' }, WHO)
    await expect(wrong).rejects.toMatchObject({ code: '28P01' })
  })

  it('applies the given settings', async () => {
    const server = await launch({ settings: { application_name: "it's a test" } })
    const asSuperuser = { user: server.superuser, host: server.socketDirectory }
    expect(await query(server, asSuperuser, 'SHOW application_name')).toEqual([
      { application_name: "it's a test" },
    ])
  })

  it('does not run as root, and its socket is not accessible to other users', async () => {
    const server = await launch()
    const { uid, mode } = statSync(server.socketDirectory)
    expect(uid).not.toBe(0)
    expect(mode & 0o777).toBe(0o700)
    expect(statSync(join(server.socketDirectory, `.s.PGSQL.${server.port}`)).uid).toBe(uid)
  })

  it('listens on no TCP port by default', async () => {
    const server = (await launchBare({ logger: SILENT }))!
    opened.push(server)
    expect(await server.query('postgres', 'SHOW listen_addresses')).toEqual([['']])
  })

  it('works over TCP with passwords only, as on Windows', async () => {
    const server = (await launchBare({ logger: SILENT, hasSocket: false }))!
    opened.push(server)
    expect(await server.query('postgres', 'SHOW unix_socket_directories')).toEqual([['']])
    const { host, port } = server
    const trusted = query({ port, database: 'postgres' }, { host, user: 'pgiam_superuser' }, WHO)
    await expect(trusted).rejects.toThrow(/password/)
  })

  it("includes the server's log in the error if it does not start, and leaves no files behind", async () => {
    const owner = runOwner({
      OWNER_TMPDIR: folder,
      XDG_CACHE_HOME: '',
      OWNER_SETTINGS: '{"shared_buffers":"plenty"}',
    })
    const { failure } = await owner.report
    expect(failure).toContain('PostgreSQL did not start')
    expect(failure).toContain('invalid value for parameter "shared_buffers": "plenty"')
    expect(readdirSync(folder).filter((name) => /^pg-iam-[0-9a-f]{12}$/.test(name))).toEqual([])
    owner.child.stdin?.end()
    await owner.ended
  })

  it('supports TLS with a certificate, and custom access rules', async () => {
    const { ca, certificate, privateKey } = await createCertificates(['localhost'])
    const server = await launch({
      roles: ['app', 'guest'],
      tls: { certificate, privateKey },
      accessRules: ['hostssl all guest all trust', 'host all guest all reject'],
    })
    const isTls = 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'
    const { host, password } = server
    const ssl = { ca, servername: 'localhost' }
    expect(await query(server, { host, user: 'guest', ssl }, isTls)).toEqual([{ ssl: true }])
    const plain = query(server, { host, user: 'guest' }, isTls)
    await expect(plain).rejects.toMatchObject({ code: '28000' })
    expect(await query(server, { host, user: 'app', password }, isTls)).toEqual([{ ssl: false }])
  })
})

describe.each(['sh', 'node'] as const)('the supervisor as a %s program', (supervisor) => {
  it('stops the server and removes its files on close, which may be called repeatedly', async () => {
    const server = await launch({ supervisor })
    const pid = postmasterPid(server)
    expect(isRunning(pid)).toBe(true)
    await server.close()
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(server.socketDirectory)).toBe(false)
    await server.close()
  })

  it('stops the server when its owner, a process of another user, exits', async () => {
    const owner = runOwner({ OWNER_SUPERVISOR: supervisor })
    const { uid, server } = await owner.report
    expect(uid).not.toBe(0)
    expect(statSync(server.socketDirectory).uid).toBe(uid)
    owner.child.stdin?.end()
    expect(await owner.ended).toEqual([0, null])
    expect(existsSync(server.socketDirectory)).toBe(false)
  })

  it('leaves no process and no file behind if its owner is killed', async () => {
    const owner = runOwner({ OWNER_SUPERVISOR: supervisor })
    const { server } = await owner.report
    const pid = postmasterPid(server)
    expect(isRunning(pid)).toBe(true)
    owner.child.kill('SIGKILL')
    expect(await owner.ended).toEqual([null, 'SIGKILL'])
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(server.socketDirectory)).toBe(false)
  })

  it('leaves nothing behind if its owner is killed during initdb', async () => {
    const watcher = watch(folder)
    const created = once(watcher, 'change').finally(() => watcher.close())
    const owner = runOwner({ OWNER_SUPERVISOR: supervisor, OWNER_TMPDIR: folder })
    await Promise.race([created, owner.report])
    owner.child.kill('SIGKILL')
    await expect(owner.report).rejects.toThrow('ended without a report')
    await owner.ended
    expect(readdirSync(folder)).toEqual([])
  })
})

it('a Jest worker exits with its server when its parent is killed', async () => {
  const owner = runOwner({})
  const { server } = await owner.report
  owner.child.disconnect()
  expect(await owner.ended).toEqual([1, null])
  expect(existsSync(server.socketDirectory)).toBe(false)
})

const WHO = 'SELECT current_user::text, current_database()::text'

async function query(
  server: { port: number; database: string },
  login: ClientConfig,
  text: string,
): Promise<unknown[]> {
  const client = new Client({ port: server.port, database: server.database, ...login })
  try {
    await client.connect()
    return (await client.query<object>(text)).rows
  } finally {
    await client.end()
  }
}

function postmasterPid({ socketDirectory }: PostgresServer): number {
  return Number.parseInt(readFileSync(join(socketDirectory, 'data', 'postmaster.pid'), 'utf8'), 10)
}

/** A process that has ended but was not reaped by a container's init process does not count as running. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(statusOf(pid))
  } catch (error) {
    return !/ESRCH|ENOENT/.test(String(error))
  }
}

function statusOf(pid: number): string {
  return process.platform === 'linux' ? readFileSync(`/proc/${pid}/status`, 'utf8') : ''
}

interface Owner {
  readonly child: ChildProcess
  readonly report: Promise<{ uid: number; server: PostgresServer; failure?: string }>
  /** Settles with exit code and signal when the process and its supervisor, which has the same standard error, have ended. */
  readonly ended: Promise<unknown[]>
}

/** Runs a process that owns a server, always as a user other than root, until its standard input ends. */
function runOwner(environment: NodeJS.ProcessEnv): Owner {
  const root = process.cwd()
  const child = spawn(
    process.execPath,
    ['--require', join(root, 'test', 'support', 'typescript-hook.cjs'), '--eval', OWNER, root],
    { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'pipe', 'ipc'] },
  )
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('the owner has no pipes')
  stderr.pipe(process.stderr, { end: false })
  // Not the child's "close" event, which is not emitted after `disconnect`.
  const ended = Promise.all([once(child, 'exit'), once(stderr, 'close')]).then(([exit]) => exit)
  return { child, report: readReport(stdout), ended }
}

async function readReport(stdout: Readable): Owner['report'] {
  for await (const line of createInterface({ input: stdout })) return JSON.parse(line)
  throw new Error('the owner ended without a report')
}

// All modules are loaded before root's privileges are dropped, because the sources may be readable only for root.
const OWNER = `
  const [, root] = process.argv
  const { launchPostgres } = require(root + '/test/support/launch-postgres.ts')
  const { serverUser } = require(root + '/gateway/engines/postgres/postgres-programs.ts')
  require(root + '/test/support/exit-with-parent.ts')
  if (process.env.OWNER_TMPDIR !== undefined) process.env.TMPDIR = process.env.OWNER_TMPDIR
  void serverUser().then(async (user) => {
    if (user !== undefined) {
      process.setgroups([])
      process.setgid(user.gid)
      process.setuid(user.uid)
    }
    const { OWNER_SUPERVISOR: supervisor, OWNER_SETTINGS: settings = '{}' } = process.env
    const report = await launchPostgres({ supervisor, settings: JSON.parse(settings) }).then(
      (server) => ({ server }),
      (error) => ({ failure: String(error) }),
    )
    console.log(JSON.stringify({ uid: process.getuid(), ...report }))
    process.stdin.resume()
  })
`

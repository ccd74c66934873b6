/** `pg-iam local` as a child process, and other processes that log in to it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localFiles } from '../../cli/local-files.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
import { type Ended, type Running, runCommand, startCommand } from './support/command.js'

let folder: string
/** It saves most tests the start of a server. */
let server: PostgresServer
let upstream: readonly string[]
const running: Running[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pg-iam-local-'))
  server = await launchPostgres({ roles: ['admin', 'app', 'shop'] })
  const { socketDirectory, port } = server
  upstream = ['--upstream', `postgres:///?host=${encodeURIComponent(socketDirectory)}&port=${port}`]
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()))
})
afterAll(async () => {
  await server?.close()
  rmSync(folder, { recursive: true })
})

const environment = (): Record<string, string> => ({ XDG_CONFIG_HOME: join(folder, 'config') })
const run = (args: readonly string[], env: Record<string, string> = {}): Promise<Ended> =>
  runCommand(args, { env: { ...environment(), ...env }, cwd: folder })

interface Local extends Running {
  /** The variables that it prints. */
  readonly env: Readonly<Record<string, string>>
  readonly port: string
}

async function start(...given: string[]): Promise<Local> {
  const args = given.includes('--data') ? given : [...upstream, ...given]
  const local = startCommand(['local', '--port', '0', ...args], { env: environment(), cwd: folder })
  running.push(local)
  const [, port = ''] = await local.printed(/listening on 127\.0\.0\.1, port (\d+)/, 'stderr')
  const exports = local.output.stdout.matchAll(/^export (\w+)='(.*)'$/gm)
  return {
    ...local,
    port,
    env: Object.fromEntries([...exports].map(([, name = '', value = '']) => [name, value])),
  }
}

/** A program of somebody who knows only the variables. */
const PROGRAM = `
  const { Client } = require('pg')
  const client = new Client()
  client.connect()
    .then(() => client.query(process.argv[1]))
    .then((result) => console.log(JSON.stringify([result].flat().at(-1).rows)))
    .catch((error) => console.log(error.code))
    .finally(() => client.end())`
const program = [
  '-e',
  `module.paths.push(${JSON.stringify(join(process.cwd(), 'node_modules'))}); ${PROGRAM}`,
]
const query = async (env: Readonly<Record<string, string>>, sql: string): Promise<string> => {
  const { stdout, stderr } = await run(['exec', '--', process.execPath, ...program, sql], env)
  return stdout === '' ? stderr : stdout.trim()
}

describe('pg-iam local', () => {
  it('prints the variables with which other processes log in, and keeps authority and keys for the next start', async () => {
    const first = await start()
    expect(await query(first.env, 'SELECT current_user AS me')).toBe('[{"me":"app"}]')
    const ca = first.env['PGSSLROOTCERT']!
    expect(statSync(ca).mode & 0o777).toBe(0o600)
    expect(statSync(join(ca, '../access-key.json')).mode & 0o777).toBe(0o600)
    expect(statSync(join(ca, '../server-key.pem')).mode & 0o777).toBe(0o600)
    expect(statSync(join(ca, '..')).mode & 0o777).toBe(0o700)
    const authority = readFileSync(ca, 'utf8')
    expect((await first.stop()).code).toBe(0)
    const second = await start()
    expect(readFileSync(ca, 'utf8')).toBe(authority)
    const { PG_IAM_CONNECT_TO: address, ...others } = second.env
    expect({ ...first.env, PG_IAM_CONNECT_TO: undefined }).toMatchObject(others)
    expect(address).toBe(`127.0.0.1:${second.port}`)
    expect(await query(second.env, 'SELECT current_user AS me')).toBe('[{"me":"app"}]')
    const wrong = { ...second.env, AWS_SECRET_ACCESS_KEY: 'wrong' }
    expect(await query(wrong, 'SELECT 1')).toBe('08006')
  })

  it('makes new certificates in place of damaged ones, and of those that have a day left', async () => {
    const hosts = ['old.dsql.us-east-1.on.aws']
    const at = async (day: number): Promise<string> => {
      const files = await localFiles(hosts, environment(), () => Date.now() + day * 86_400_000)
      return readFileSync(files.caFile, 'utf8')
    }
    const first = await at(0)
    expect(await at(28)).toBe(first)
    const second = await at(29.5)
    expect(second).not.toBe(first)
    const { caFile } = await localFiles(hosts, environment(), Date.now)
    writeFileSync(caFile, 'damaged')
    expect(await at(0)).toContain('BEGIN CERTIFICATE')
  })

  it('writes the variables to a file of its own, and to no other', async () => {
    const file = join(folder, '.env.local')
    const local = await start('--write-env', file)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(local.output.stdout).toBe(`wrote ${file}\n`)
    const script = ['--env-file', file, '-p', 'process.env.PG_IAM_CONNECT_TO']
    const { execFileSync } = await import('node:child_process')
    expect(execFileSync(process.execPath, script, { encoding: 'utf8' })).toBe(
      `127.0.0.1:${local.port}\n`,
    )
    await local.stop()
    await (await start('--write-env', file)).stop()
    writeFileSync(file, 'OWN=1\n')
    const refused = await run(['local', '--port', '0', ...upstream, '--write-env', file])
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringMatching(/not written by pg-iam local/),
    ])
    expect(readFileSync(file, 'utf8')).toBe('OWN=1\n')
  })

  it('ends with 1 and one line if the file for the variables cannot be written', async () => {
    const { code, stderr } = await run([
      'local',
      '--port',
      '0',
      '--write-env',
      'no/such/folder/.env',
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^pg-iam: error: could not write [^\n]+ENOENT[^\n]+\n$/)
  })

  it('runs a line of the shell against itself, with nothing else on stdout, and ends with its code', async () => {
    const line = `${process.execPath} -e 'console.log(new URL(process.env.DATABASE_URL).username)' | tr a-z A-Z; exit 7`
    expect(await run(['local', '--port', '0', ...upstream, '--run', line])).toEqual({
      code: 7,
      stdout: 'APP\n',
      stderr: '',
    })
  })

  it('runs the SQL of --init once for the data of --data, and stops at the statement that fails', async () => {
    const init = join(folder, 'init.sql')
    writeFileSync(
      init,
      `CREATE TABLE note (id int PRIMARY KEY, text text); -- a note; here
       INSERT INTO note VALUES (1, 'a;b'), (2, $$c;d$$);
       GRANT SELECT ON note TO app`,
    )
    const args = ['--init', init, '--data', join(folder, 'data')]
    for (let time = 0; time < 2; time++) {
      const local = await start(...args)
      expect(await query(local.env, 'SELECT text FROM note ORDER BY id')).toBe(
        '[{"text":"a;b"},{"text":"c;d"}]',
      )
      await local.stop()
    }
    writeFileSync(init, 'SELECT 1; SELECT nothing')
    const failed = await run(['local', '--port', '0', ...upstream, '--init', init])
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/^pg-iam: error: statement 2 of "--init" failed: [^\n]+\n$/)
  })

  it('injects faults by flag and at run time', async () => {
    const local = await start('--fault', 'reject-logins times=1 sqlState=28000')
    const sql = 'SELECT 1 AS one'
    expect(await query(local.env, sql)).toBe('28000')
    expect(await query(local.env, sql)).toBe('[{"one":1}]')
    const faults = (...words: string[]): Promise<Ended> =>
      run(['local', 'faults', '--port', local.port, ...words])
    expect(await faults('reject-logins', 'sqlState=28P01')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
    expect(await query(local.env, sql)).toBe('28P01')
    await faults('reject-logins', 'times=100', 'sqlState=28000')
    await faults('clear')
    expect(await query(local.env, sql)).toBe('[{"one":1}]')
    expect((await faults('sessions')).stdout).toBe('[]\n')
    const wrong = await faults('cut', 'at=nowhere')
    expect([wrong.code, wrong.stderr]).toEqual([
      2,
      expect.stringMatching(/"at" must be "before-tls"/),
    ])
    expect((await faults('kill-session', 'processId=1')).code).toBe(2)
    await local.stop()
    const gone = await faults('clear')
    expect([gone.code, gone.stderr]).toEqual([
      1,
      expect.stringMatching(/no "pg-iam local" of yours runs/),
    ])
  })

  it('stands for RDS, and for a host of any name', async () => {
    const host = 'orders.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
    const local = await start('--provider', 'rds', '--host', host, '--user', 'shop')
    expect(local.env).toMatchObject({ PGHOST: host, PGUSER: 'shop' })
    expect(await query(local.env, 'SELECT current_user AS me')).toBe('[{"me":"shop"}]')
  })

  it('answers as Aurora DSQL, or with --sql postgres as PostgreSQL, and with --strict refuses more', async () => {
    const plain = 'CREATE TEMP TABLE t (id int); SELECT 1 AS one'
    // The parser gives up, and PostgreSQL does with an error of its own.
    const unknown = `SELECT ${'1 + '.repeat(30_000)}1`
    const dsql = await start()
    expect(await query(dsql.env, 'CREATE TEMP TABLE t (id int)')).toBe('0A000')
    expect(await query(dsql.env, unknown)).toBe('54001')
    await dsql.stop()
    expect(await query((await start('--sql', 'postgres')).env, plain)).toBe('[{"one":1}]')
    expect(await query((await start('--strict')).env, unknown)).toBe('0A000')
  })

  it('has an identity that AWS IAM GRANT gives a role', async () => {
    const init = join(folder, 'grant.sql')
    const arn = 'arn:aws:iam::111122223333:role/shop'
    writeFileSync(init, `CREATE ROLE granted WITH LOGIN; AWS IAM GRANT granted TO '${arn}'`)
    const local = await start('--init', init, '--arn', arn, '--data', join(folder, 'granted'))
    const env = { ...local.env, PGUSER: 'granted' }
    expect(await query(env, 'SELECT current_user AS me')).toBe('[{"me":"granted"}]')
  })

  it('ends when another process says so, with 0', async () => {
    const local = await start()
    const stop = ['local', 'stop', '--port', local.port]
    expect(await run(stop)).toEqual({ code: 0, stdout: '', stderr: '' })
    expect((await local.ended).code).toBe(0)
    expect((await run(stop)).code).toBe(1)
    // Without files of its own, and the packages that make them.
    const other = join(folder, 'none')
    await run(stop, { XDG_CONFIG_HOME: other })
    expect(existsSync(other)).toBe(false)
  })

  it('ends with 130 after Ctrl-C', async () => {
    const local = await start()
    local.child.kill('SIGINT')
    expect((await local.ended).code).toBe(130)
  })

  it.each([
    [['local', 'fault'], /"fault" is no action/],
    [['local', 'stop', 'now'], /"now" is no argument of local stop/],
    [['local', '--provider', 'rds', '--strict'], /"--strict" is for the provider aurora-dsql only/],
    [['local', '--arn', 'me'], /arn" must be/],
    [['local', 'faults'], /a fault must be named/],
    [['local', 'faults', 'raise-conflict'], /Did you mean "raise-conflicts"/],
    [['local', 'faults', 'cut', 'at'], /"at" must be KEY=VALUE/],
    [['local', '--fault', 'nothing'], /"nothing" is no fault/],
    [['local', '--engine', 'sqlite'], /"--engine" must be "postgres" or "pglite"/],
    [['local', '--init', 'nowhere.sql'], /could not read the file of "--init"/],
    [['local', '--upstream', 'mysql://x'], /"upstream" must be/],
  ])('ends with 2 and one line for %j', async (args, message) => {
    const { code, stderr } = await run(args)
    expect(code).toBe(2)
    expect(stderr).toMatch(/^pg-iam: error: [^\n]+\n$/)
    expect(stderr).toMatch(message)
  })
})

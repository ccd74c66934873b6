/** The packed command in an empty folder, the blocks of docs/cli.md, and the clients of other languages through `exec`. */
import { execFile, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Running, runCommand, startCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  DSQL_URL,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { eventually } from '../support/eventually.js'
import { packPackage, type PackedPackage } from './packed-package.js'

const run = promisify(execFile)

/** Debian's packages of the programs. */
const PACKAGES: Readonly<Record<string, string>> = {
  '/usr/bin/psql': 'postgresql-client',
  '/usr/bin/pg_dump': 'postgresql-client',
  '/usr/bin/pgbench': 'postgresql',
  '/usr/bin/java': 'default-jdk-headless',
  '/usr/share/java/postgresql.jar': 'libpostgresql-jdbc-java',
  '/usr/lib/python3/dist-packages/psycopg2': 'python3-psycopg2',
  '/usr/lib/python3/dist-packages/asyncpg': 'python3-asyncpg',
}

let databases: CommandDatabases
let packed: PackedPackage
/** The folder of an application that has only pg-iam. */
let application: string
let main: string

beforeAll(async () => {
  for (const [path, name] of Object.entries(PACKAGES))
    if (!existsSync(path)) throw new Error(`${path} is missing. Run: apt-get install ${name}`)
  // pg_dump refuses a server that is newer than itself.
  const [newest = ''] = readdirSync('/usr/lib/postgresql').toSorted((a, b) => Number(b) - Number(a))
  process.env['PG_BINDIR'] = `/usr/lib/postgresql/${newest}/bin`
  ;[databases, packed] = await Promise.all([startDatabases(), packPackage()])
  application = packed.application()
  main = join(application, 'node_modules/pg-iam/dist/cli/main.js')
})
afterAll(async () => {
  delete process.env['PG_BINDIR']
  packed?.remove()
  await databases?.close()
})

const exec = (url: string, words: readonly string[], env: Record<string, string> = {}) =>
  runCommand(['exec', url, '--', ...words], { env: { ...databases.env, ...env }, main })

describe('the packed command, where nothing else is installed', () => {
  it('is the program pg-iam of the package, with the licences of what it contains', () => {
    const { bin } = JSON.parse(
      readFileSync(join(application, 'node_modules/pg-iam/package.json'), 'utf8'),
    ) as { bin: object }
    expect(bin).toEqual({ 'pg-iam': './dist/cli/main.js' })
    expect(readFileSync(main, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
    const licences = readFileSync(join(main, '../LICENSES.txt'), 'utf8')
    for (const name of ['commander', 'prom-client', 'tdigest', 'bintrees', '@opentelemetry/api'])
      expect(licences).toMatch(new RegExp(`^${name} \\d`, 'm'))
  })

  it('is installed by npm as a program that npx runs, offline', async () => {
    const folder = packed.folder()
    const { PATH, HOME } = process.env
    const env = { PATH, HOME, npm_config_cache: join(folder, 'cache'), npm_config_offline: 'true' }
    await run(
      'npm',
      ['install', '--no-audit', '--no-fund', join(application, 'node_modules/pg-iam')],
      {
        cwd: folder,
        env,
      },
    )
    const { stdout } = await run('npx', ['pg-iam', '--help'], { cwd: folder, env })
    expect(stdout).toContain('Usage: pg-iam')
  })

  it.each([
    [['token', DSQL_URL, '--profile', 'dev'], '@aws-sdk/credential-providers'],
    [['token', RDS_URL, '--signer', 'aws-sdk'], '@aws-sdk/rds-signer'],
    [['token', 'postgres://shop.postgres.database.azure.com/x'], '@azure/identity'],
    [['token', 'postgres://a@i.l.europe-west1.sql.goog/x'], 'google-auth-library'],
    [['token', 'postgres://w.1.us-east-1.redshift.amazonaws.com/x'], '@aws-sdk/client-redshift'],
  ])('says for %j the whole command to type, with %s', async (args, name) => {
    const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = databases.env
    const { code, stderr } = await runCommand(args, {
      main,
      env: { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY },
    })
    expect(code).toBe(3)
    expect(stderr).toBe(
      `pg-iam: error: the package "${name}" is not installed. Run: npx -p pg-iam -p ${name} pg-iam ${args.join(' ')}\n`,
    )
  })

  it('serves metrics with the client of Prometheus that it contains', async () => {
    const proxy = startCommand(['proxy', DSQL_URL, '--port', '0', '--http', '0', '--no-password'], {
      main,
      env: databases.env,
    })
    const [, base = ''] = await proxy.printed(/metrics and health: (\S+)/, 'stderr')
    expect(await (await fetch(`${base}/metrics`)).text()).toContain('process_cpu_seconds_total')
    await proxy.stop()
  })
})

/** The blocks of the page, in order: those of a shell, and files. */
const page = readFileSync(join(__dirname, '../../docs/cli.md'), 'utf8')
const BLOCKS = [...page.matchAll(/^```(sh|json)(?: (\S+))?\n([\s\S]*?)^```$/gm)].map(
  ([, , file, text = '']) => ({ file, text }),
)

describe('docs/cli.md', () => {
  let proxy: { stop(): Promise<void> } | undefined
  afterEach(() => proxy?.stop())

  it('has blocks that run as they stand, those of a proxy while the next ones connect to it', async () => {
    const folder = packed.folder()
    const bin = join(folder, 'bin')
    // What `local` needs.
    const withPackages = packed.application('@peculiar/x509', 'reflect-metadata', 'libpg-query')
    const command = join(withPackages, 'node_modules/pg-iam/dist/cli/main.js')
    mkdirSync(bin)
    // `npx` would look for the package in the registry.
    writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec ${process.execPath} ${command} "$@"\n`)
    chmodSync(join(bin, 'npx'), 0o755)
    writeFileSync(join(folder, 'password.txt'), 'of the page\n', { mode: 0o600 })
    const env = {
      ...databases.env,
      HOME: process.env['HOME'],
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
      PGHOSTADDR: '',
      XDG_CONFIG_HOME: join(folder, 'config'),
    }
    let count = 0
    for (const { file, text } of BLOCKS) {
      if (file !== undefined) {
        writeFileSync(join(folder, file), text)
        continue
      }
      count++
      // The last line of such a block does not end.
      const lines = text.trimEnd().split('\n')
      if (/^npx pg-iam (?:proxy|local --write)/.test(lines.at(-1)!)) {
        await proxy?.stop()
        for (const line of lines.slice(0, -1))
          await run('bash', ['-euc', line], { cwd: folder, env })
        proxy = await background(lines.at(-1)!, { cwd: folder, env })
        continue
      }
      // A token is for the host, and psql does not read PG_IAM_CONNECT_TO.
      const dialled = text.replaceAll(
        `host=${DSQL_HOST}`,
        `host=${DSQL_HOST} hostaddr=127.0.0.1 port=${databases.gateway.port}`,
      )
      const { stdout } = await run('bash', ['-euc', dialled], { cwd: folder, env })
      expect(stdout).not.toBe('')
    }
    expect(count).toBeGreaterThan(6)
  })
})

/** Starts a block, and resolves when it has printed an address. */
async function background(
  text: string,
  options: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<{ stop(): Promise<void> }> {
  const child = spawn('bash', ['-euc', `exec ${text}`], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => (output += String(chunk)))
  child.stderr.on('data', (chunk) => (output += String(chunk)))
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  await eventually('the proxy to listen', () => {
    if (child.exitCode !== null) throw new Error(output)
    return /postgres:\/\/|listening/.test(output)
  })
  return {
    async stop() {
      if (child.exitCode === null) child.kill('SIGTERM')
      await ended
    },
  }
}

describe.each([
  ['Aurora DSQL', DSQL_URL],
  ['RDS', RDS_URL],
])('through exec, on %s', (name, url) => {
  const table = `t_${name.replaceAll(/\W/g, '').toLowerCase()}`

  it('psql copies, describes, and watches', async () => {
    const { code, stdout, stderr } = await exec(url, [
      '/usr/bin/psql',
      '-X',
      '-At',
      ...[
        `CREATE TABLE ${table} (id int, name text)`,
        String.raw`\copy ${table} FROM PROGRAM 'printf "1\tAda\n2\tBen\n"'`,
        `SELECT count(*) FROM ${table}; SELECT 7`,
        String.raw`\d ${table}`,
        `\\copy (SELECT name FROM ${table} ORDER BY 1) TO STDOUT`,
      ].flatMap((command) => ['-c', command]),
    ])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('2\n7\n')
    expect(stdout).toContain('name|text')
    expect(stdout).toContain('Ada\nBen\n')
  })

  it('psql ends its statement on Ctrl-C', async () => {
    const running: Running = startCommand(
      ['exec', url, '--', '/usr/bin/psql', '-X', '-c', 'SELECT pg_sleep(600)'],
      { env: databases.env, main },
    )
    await eventually('the statement to run', async () => {
      const { stdout } = await exec(url, [
        '/usr/bin/psql',
        '-XAtc',
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
      ])
      return stdout.trim() !== '0'
    })
    running.child.kill('SIGINT')
    const { code, stderr } = await running.ended
    expect(code).toBe(1)
    expect(stderr).toContain('canceling statement due to user request')
  })

  it('the JDBC driver, psycopg2 and asyncpg read libpq’s variables', async () => {
    const java = ['/usr/bin/java', '-cp', '/usr/share/java/postgresql.jar']
    const jdbc = await exec(url, [...java, join(__dirname, 'clients/JdbcPlain.java')])
    // On Aurora DSQL the setting is left out.
    expect(jdbc).toMatchObject({ code: 0, stdout: `440\n${name === 'RDS' ? '5s' : '0'}\n` })
    const psycopg2 = `
import psycopg2
connection = psycopg2.connect("")
cursor = connection.cursor()
cursor.execute("SELECT current_user, %s", (3,))
print(cursor.fetchone())`
    expect(await exec(url, ['/usr/bin/python3', '-c', psycopg2])).toMatchObject({
      code: 0,
      stdout: "('app', 3)\n",
    })
    const asyncpg = `
import asyncio, asyncpg
async def main():
    connection = await asyncpg.connect(server_settings={"statement_timeout": "5000"})
    print(await connection.fetchval("SELECT $1::int + 1", 41))
    await connection.close()
asyncio.run(main())`
    expect(await exec(url, ['/usr/bin/python3', '-c', asyncpg])).toMatchObject({
      code: 0,
      stdout: '42\n',
    })
  })
})

describe('through exec, on RDS', () => {
  it('pg_dump writes what psql restores', async () => {
    const file = join(databases.folder, 'dump.sql')
    const sql =
      'CREATE TABLE dumped (id int PRIMARY KEY); INSERT INTO dumped SELECT generate_series(1, 500)'
    await exec(RDS_URL, ['/usr/bin/psql', '-Xqc', sql])
    expect(await exec(RDS_URL, ['/usr/bin/pg_dump', '-t', 'dumped', '-f', file])).toMatchObject({
      code: 0,
      stderr: '',
    })
    await exec(RDS_URL, ['/usr/bin/psql', '-Xqc', 'DROP TABLE dumped'])
    expect(await exec(RDS_URL, ['/usr/bin/psql', '-Xqf', file])).toMatchObject({
      code: 0,
      stderr: '',
    })
    const { stdout } = await exec(RDS_URL, [
      '/usr/bin/psql',
      '-XAtc',
      'SELECT count(*) FROM dumped',
    ])
    expect(stdout).toBe('500\n')
  })

  it.each(['simple', 'extended', 'prepared'])(
    'pgbench runs in the protocol "%s"',
    async (protocol) => {
      await exec(RDS_URL, ['/usr/bin/pgbench', '-i', '-q'])
      const words = ['/usr/bin/pgbench', '-n', '-M', protocol, '-c', '4', '-t', '25']
      const { code, stdout } = await exec(RDS_URL, words)
      expect(code).toBe(0)
      expect(stdout).toContain('number of transactions actually processed: 100/100')
    },
  )
})

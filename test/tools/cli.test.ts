/** The packed command in an empty folder, and the blocks of docs/cli.md. */
import { execFile, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { runCommand, startCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  DSQL_URL,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { eventually } from '../support/eventually.js'
import { packPackage, type PackedPackage } from './packed-package.js'
import { requirePrograms, usePostgresOfPgDump } from './programs.js'

const run = promisify(execFile)

let databases: CommandDatabases
let packed: PackedPackage
/** The folder of an application that has only pg-iam. */
let application: string
let main: string

beforeAll(async () => {
  // Blocks of the page run them.
  requirePrograms('/usr/bin/psql', '/usr/bin/pg_dump')
  usePostgresOfPgDump()
  ;[databases, packed] = await Promise.all([startDatabases(), packPackage()])
  application = packed.application()
  main = join(application, 'node_modules/pg-iam/dist/cli/main.js')
})
afterAll(async () => {
  packed?.remove()
  await databases?.close()
})

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

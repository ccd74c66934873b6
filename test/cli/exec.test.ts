/** `pg-iam exec`: the environment, the signals and the exit code of its command. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Ended, runCommand, startCommand } from './support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  DSQL_URL,
  RDS_URL,
  startDatabases,
} from './support/databases.js'

let databases: CommandDatabases

beforeAll(async () => {
  databases = await startDatabases()
})
afterAll(() => databases?.close())

const exec = (args: readonly string[], env: Record<string, string> = {}): Promise<Ended> =>
  runCommand(['exec', ...args], {
    env: { ...databases.env, ...env },
    cwd: databases.folder,
  })
/** Runs a script of Node, which finds the packages of this repository. */
const node = (script: string): string[] => [process.execPath, '-e', script]
const script = (code: string): string[] =>
  node(`module.paths.push(${JSON.stringify(join(process.cwd(), 'node_modules'))}); ${code}`)

describe('pg-iam exec', () => {
  it("gives the command the variables of libpq, which drivers read, and nobody else's", async () => {
    const { code, stdout, stderr } = await exec([
      DSQL_URL,
      '--',
      ...script(`
        const { Client } = require('pg')
        const client = new Client()
        client.connect()
          .then(() => client.query('SELECT current_user AS me, current_database() AS name'))
          .then(({ rows }) => { console.log(JSON.stringify(rows)); return client.end() })`),
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toEqual([{ me: 'app', name: 'postgres' }])
  })

  it('gives the command a URL, also by other names', async () => {
    const { code, stdout } = await exec([
      RDS_URL,
      '--env',
      'PRISMA_URL',
      '--env',
      'DB_URL',
      '--',
      ...script(`
        const { DATABASE_URL, PRISMA_URL, DB_URL } = process.env
        const sql = require('postgres')(DATABASE_URL, { max: 1 })
        sql\`SELECT current_user AS me\`.then(async ([row]) => {
          console.log(JSON.stringify([row.me, PRISMA_URL === DATABASE_URL, DB_URL === DATABASE_URL]))
          await sql.end()
        })`),
    ])
    expect([code, JSON.parse(stdout)]).toEqual([0, ['app', true, true]])
  })

  it('gives a URL of the form that Prisma documents: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?KEY=VALUE', async () => {
    const { stdout } = await exec([
      DSQL_URL,
      '--',
      ...node('console.log(process.env.DATABASE_URL)'),
    ])
    expect(stdout.trim()).toMatch(
      /^postgres:\/\/app:[\w-]{32}@127\.0\.0\.1:\d+\/postgres\?sslmode=disable$/,
    )
  })

  it('removes variables that would lead past the proxy, and keeps all others', async () => {
    const names = [
      'PGHOSTADDR',
      'PGSERVICE',
      'PGSSLROOTCERT',
      'PG_IAM_CONNECT_TO',
      'PGSSLMODE',
      'OWN',
    ]
    const { stdout } = await exec(
      [
        DSQL_URL,
        '--',
        ...node(
          `console.log(JSON.stringify(${JSON.stringify(names)}.map((name) => process.env[name] ?? null)))`,
        ),
      ],
      { PGHOSTADDR: '192.0.2.1', PGSERVICE: 'x', OWN: 'kept' },
    )
    expect(JSON.parse(stdout)).toEqual([null, null, null, null, 'disable', 'kept'])
  })

  it('opens connections for as long as the command runs, each with a new token', async () => {
    const before = databases.gateway.stats().distinctTokens
    const { code, stdout } = await exec([
      DSQL_URL,
      '--',
      ...script(`
        const { Client } = require('pg')
        const once = async () => {
          const client = new Client()
          await client.connect()
          await client.end()
        }
        const wait = () => new Promise((resolve) => setTimeout(resolve, 1100))
        once().then(wait).then(once).then(() => console.log('done'))`),
    ])
    expect([code, stdout]).toEqual([0, 'done\n'])
    expect(databases.gateway.stats().distinctTokens).toBe(before + 2)
  })

  it.each([
    [node('process.exit(7)'), 7],
    [node("process.kill(process.pid, 'SIGKILL')"), 137],
    [['nowhere-to-be-found'], 127],
    [['/tmp'], 126],
  ])('ends as its command %j does, with %i', async (command, expected) => {
    const { code, stderr } = await exec([DSQL_URL, '--', ...command])
    expect(code).toBe(expected)
    expect(stderr).toMatch(/^(?:|pg-iam: error: [^\n]+\n)$/)
  })

  it('passes words on as they are, also those that look like its own flags', async () => {
    const { stdout } = await exec([
      DSQL_URL,
      '--',
      ...node('console.log(JSON.stringify(process.argv.slice(1)))'),
      'a b',
      '$HOME',
      '--json',
      '--',
      '*',
    ])
    expect(JSON.parse(stdout)).toEqual(['a b', '$HOME', '--json', '--', '*'])
  })

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const)(
    'passes %s on to its command, and ends with its exit code',
    async (signal) => {
      const running = startCommand(
        [
          'exec',
          DSQL_URL,
          '--',
          ...node(
            `process.on('${signal}', () => process.exit(9)); setInterval(() => {}, 1000); console.log('up')`,
          ),
        ],
        { env: databases.env },
      )
      await running.printed(/up/)
      running.child.kill(signal)
      expect((await running.ended).code).toBe(9)
    },
  )

  it('kills a command that ignores SIGTERM for longer than --kill-after, and says so', async () => {
    const running = startCommand(
      [
        'exec',
        DSQL_URL,
        '--kill-after',
        '0.05',
        '--',
        ...node("process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('up')"),
      ],
      { env: databases.env },
    )
    await running.printed(/up/)
    running.child.kill('SIGTERM')
    const { code, stderr } = await running.ended
    expect(code).toBe(137)
    expect(stderr).toMatch(/did not end within 0\.05 s of SIGTERM: it is killed/)
  })

  it('does not start the command without a token, or if --check cannot log in', async () => {
    const file = join(databases.folder, 'started')
    const command = ['--', ...node(`require('fs').writeFileSync(${JSON.stringify(file)}, '')`)]
    const noToken = await exec([DSQL_URL, ...command], { AWS_ACCESS_KEY_ID: '' })
    const refused = await exec([DSQL_URL.replace('app@', 'ghost@'), '--check', ...command])
    expect([noToken.code, refused.code]).toEqual([3, 5])
    expect(existsSync(file)).toBe(false)
  })

  it('takes its target and its flags from pg-iam.json', async () => {
    writeFileSync(
      join(databases.folder, 'pg-iam.json'),
      JSON.stringify({
        exec: { env: 'OWN_URL', check: true },
        targets: { main: { host: DSQL_HOST, user: 'app' } },
      }),
    )
    const { code, stdout } = await exec([
      '--',
      ...node('console.log(new URL(process.env.OWN_URL).username)'),
    ])
    expect([code, stdout]).toEqual([0, 'app\n'])
  })

  it('shows its password nowhere but in the environment of the command', async () => {
    const { stdout, stderr } = await exec([
      DSQL_URL,
      '--verbose',
      '--',
      ...script(`
        const { Client } = require('pg')
        const client = new Client()
        client.connect().then(() => client.end()).then(() => console.log(process.env.PGPASSWORD))`),
    ])
    expect(stderr).toContain('opened a connection')
    expect(stderr).not.toContain(stdout.trim())
    expect(stderr).not.toMatch(/X-Amz-Signature/)
  })
})

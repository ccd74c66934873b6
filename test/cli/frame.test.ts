/** Arguments, the configuration file, help, errors and exit codes: without a database. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VERSION } from '../../core/version.js'
import { runCommand } from './support/command.js'
import { DSQL_HOST, DSQL_URL, RDS_HOST } from './support/databases.js'

const KEYS = { AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'made-up' }

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'pg-iam-frame-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const run = (args: readonly string[], env: Record<string, string> = {}) =>
  runCommand(args, { env: { ...KEYS, ...env }, cwd: folder })
const configure = (content: unknown): void =>
  writeFileSync(join(folder, 'pg-iam.json'), JSON.stringify(content))
/** What the token says for these arguments. */
const decoded = async (args: readonly string[], env: Record<string, string> = {}) => {
  const { stdout, stderr } = await run(['token', '--decode', '--json', ...args], env)
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Record<string, string>
}

describe('the command pg-iam', () => {
  it('prints its version', async () => {
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' })
  })

  it.each([[['--help']], [['token', '--help']], [['proxy', '--help']], [['exec', '--help']]])(
    'prints help for %j that says what a target is',
    async (args) => {
      const { code, stdout, stderr } = await run(args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toContain('postgres://app@HOST/postgres')
    },
  )

  const wrong: [args: readonly string[], message: RegExp][] = [
    [[], /a command must be given/],
    [['tokn'], /unknown command 'tokn'.* token/],
    [['token', '--hots', 'x'], /unknown option '--hots'.* --host/],
    [['token', DSQL_URL, '--server-port', '70000'], /"--server-port" must be an integer from 1/],
    [['token', DSQL_URL, '--provider', 'oracle'], /"--provider" must be "aurora-dsql" or/],
    [['token', DSQL_URL, '--assume-role', 'admin'], /"--assume-role" must be the ARN of a role/],
    [['token', DSQL_URL, '--url', '--decode'], /must not be given together/],
    [['token', DSQL_URL, '--connect-to', 'a:b:c'], /"--connect-to" must be HOST:PORT/],
    [['token', DSQL_URL, 'more'], /too many arguments/],
    [['token', 'orders'], /"orders" is no target.*There is no pg-iam.json/],
    [['token', 'mysql://app@host/x'], /must begin with postgres:\/\//],
    [['token', '--', 'psql'], /only exec has a command after --/],
    [['exec', DSQL_URL], /a command must be given after --/],
    [['token', 'postgres://app@db.example.com/x'], /known provider.*give --provider/],
    [['token', '--config', 'nothing.json'], /could not read .*nothing\.json/],
    [['token', `postgres://app@${DSQL_HOST}/postgres?sslmode=disable`], /sslmode/],
    [['proxy', DSQL_URL, '--listen', '0.0.0.0'], /needs a password and TLS/],
    [['proxy', DSQL_URL, '--by-database'], /each target needs a name/],
    [['proxy', `a=${DSQL_URL}`, `a=${DSQL_URL}`], /"a" is given twice/],
    [['proxy', DSQL_URL, '--tls-cert', 'x.pem'], /must be given together/],
    [
      ['proxy', DSQL_URL, '--password-file', 'none'],
      /could not read the file of "--password-file"/,
    ],
    [['proxy', DSQL_URL, '--max-connections', '0'], /"--max-connections" must be an integer/],
    [['proxy', DSQL_URL, '--http', 'x'], /"--http" must be an integer/],
  ]
  it.each(wrong)('ends with 2 and one line for %j', async (args, message) => {
    const { code, stdout, stderr } = await run(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^pg-iam: error: [^\n]+\n$/)
    expect(stderr).toMatch(message)
  })

  it('refuses a URL with a password, and does not repeat it', async () => {
    const { code, stderr } = await run(['token', `postgres://app:s3cret@${DSQL_HOST}/postgres`])
    expect(code).toBe(2)
    expect(stderr).toContain('must not contain a password')
    expect(stderr).not.toContain('s3cret')
    const mistyped = await run(['token', `postgre//app:s3cret@${DSQL_HOST}/postgres`])
    expect(mistyped.stderr).toContain('neither a URL nor a name')
    expect(mistyped.stderr).not.toContain('s3cret')
  })

  it('makes up no password that would be in a log with --json', async () => {
    const { code, stderr } = await run(['proxy', DSQL_URL, '--json'])
    expect(code).toBe(2)
    expect(JSON.parse(stderr)).toMatchObject({ hint: expect.stringContaining('--password-file') })
  })

  it('prints errors as JSON with --json', async () => {
    const { code, stderr } = await run(['token', '--json', 'orders'])
    expect(code).toBe(2)
    expect(JSON.parse(stderr)).toMatchObject({
      level: 'error',
      message: '"orders" is no target',
      hint: expect.stringContaining('Give a URL'),
      exitCode: 2,
    })
  })
})

describe('the target', () => {
  it('comes from flags, which beat the URL, which beats the environment', async () => {
    const env = { PGHOST: RDS_HOST, PGUSER: 'report' }
    expect(await decoded([], env)).toMatchObject({ host: `${RDS_HOST}:5432`, user: 'report' })
    expect(await decoded([`postgres://app@${RDS_HOST}:5433/x`], env)).toMatchObject({
      host: `${RDS_HOST}:5433`,
      user: 'app',
    })
    const flags = ['--user', 'admin', '--server-port', '5434']
    expect(await decoded([`postgres://app@${RDS_HOST}:5433/x`, ...flags], env)).toMatchObject({
      host: `${RDS_HOST}:5434`,
      user: 'admin',
    })
  })

  it('may be a host of any name with --provider', async () => {
    const args = ['--provider', 'aurora-dsql', '--host', 'db.example.com', '--region', 'eu-west-1']
    expect(await decoded([...args, '--user', 'admin'])).toMatchObject({
      host: 'db.example.com',
      region: 'eu-west-1',
      action: 'DbConnectAdmin',
    })
  })

  it('may be named in pg-iam.json, whose flags the command line beats', async () => {
    configure({
      user: 'app',
      targets: {
        orders: { url: `postgres://${RDS_HOST}/orders`, 'server-port': 5433 },
        reports: DSQL_URL.replace('app@', 'admin@'),
      },
    })
    expect(await decoded(['orders'])).toMatchObject({ host: `${RDS_HOST}:5433`, user: 'app' })
    expect(await decoded(['orders', '--server-port', '5434'])).toMatchObject({
      host: `${RDS_HOST}:5434`,
    })
    expect(await decoded(['reports'])).toMatchObject({ action: 'DbConnectAdmin' })
    const { code, stderr } = await run(['token'])
    expect(code).toBe(2)
    expect(stderr).toContain('name one of the targets')
    expect(stderr).toContain('orders, reports')
  })

  it('is the only one of pg-iam.json', async () => {
    configure({ targets: { only: { host: DSQL_HOST, user: 'app' } } })
    expect(await decoded([])).toMatchObject({ host: DSQL_HOST })
  })

  it.each([
    ['{', /is no JSON/],
    ['[]', /must contain an object/],
    ['{"hots":"x"}', /"hots" is not a known option. Did you mean "host"/],
    ['{"targets":{"a b":"x"}}', /"a b" is no name of a target/],
    ['{"targets":{"a":{"hots":"x"}}}', /"targets.a.hots" is not a known option/],
    ['{"targets":{"a":{"server-port":"x"}}}', /"targets.a.server-port" must be an integer/],
    ['{"token":{"url":"yes"}}', /"token.url" must be true or false/],
  ])('ends with 2 for a pg-iam.json of %s that has a mistake', async (content, message) => {
    writeFileSync(join(folder, 'pg-iam.json'), content)
    const { code, stderr } = await run(['token', DSQL_URL])
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
  })
})

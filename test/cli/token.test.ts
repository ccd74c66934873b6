import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from './support/command.js'
import {
  DSQL_HOST,
  DSQL_URL,
  RDS_HOST,
  RDS_URL,
  type CommandDatabases,
  startDatabases,
} from './support/databases.js'

let databases: CommandDatabases

beforeAll(async () => {
  databases = await startDatabases()
})
afterAll(() => databases?.close())

const token = (args: readonly string[], env: Record<string, string | undefined> = {}) =>
  runCommand(['token', ...args], { env: { ...databases.env, ...env }, cwd: databases.folder })

describe('pg-iam token', () => {
  it('prints one token and nothing else, which the database accepts', async () => {
    const { code, stdout, stderr } = await token([DSQL_URL])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^abcdefghijklmnopqrstuvwxyz\.dsql\.\S+X-Amz-Signature=\S+\n$/)
  })

  it('prints a URL with --url, whose decoded password is a token', async () => {
    const { stdout } = await token([RDS_URL, '--url'], { PG_IAM_CONNECT_TO: undefined })
    const url = new URL(stdout.trim())
    expect(decodeURIComponent(url.password)).toContain('Action=connect&DBUser=app')
    expect([url.protocol, url.username, url.port, url.pathname, url.search]).toEqual([
      'postgres:',
      'app',
      '5432',
      '/postgres',
      '?sslmode=verify-full',
    ])
  })

  it('prints with --url the address to dial as libpq takes it, beside the host to verify', async () => {
    const { stdout } = await token([RDS_URL, '--url'])
    const url = new URL(stdout.trim())
    const dialled = `${url.searchParams.get('hostaddr')}:${url.port}`
    expect([url.hostname, dialled]).toEqual([RDS_HOST, databases.env['PG_IAM_CONNECT_TO']])
  })

  it('says with --decode what the token says, without the signature', async () => {
    const { code, stdout } = await token([DSQL_URL, '--decode'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^host +abcdefghijklmnopqrstuvwxyz\.dsql\.us-east-1\.on\.aws$/m)
    expect(stdout).toMatch(/^action +DbConnect$/m)
    expect(stdout).toMatch(/^valid for +900 seconds$/m)
    expect(stdout).not.toMatch(/signature=/i)
  })

  it('prints JSON with --json', async () => {
    const { stdout } = await token(['--json', DSQL_URL])
    expect(JSON.parse(stdout)).toEqual({
      token: expect.stringContaining(DSQL_HOST),
      user: 'app',
      expiresAt: expect.stringMatching(/^\d{4}-/),
    })
    const decoded = await token(['--json', '--decode', DSQL_URL])
    expect(JSON.parse(decoded.stdout)).toMatchObject({ host: DSQL_HOST, action: 'DbConnect' })
  })

  it('ends with 3 and one line if there are no credentials, with the command that finds them', async () => {
    const { code, stdout, stderr } = await token([DSQL_URL], { AWS_ACCESS_KEY_ID: undefined })
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(/^pg-iam: error: could not get AWS credentials [^\n]*\n$/)
  })

  it('ends with 3 if the token takes longer than --token-timeout', async () => {
    const script = join(databases.folder, 'slow.cjs')
    writeFileSync(script, 'setInterval(() => {}, 1000)')
    const config = join(databases.folder, 'aws-config')
    writeFileSync(
      config,
      `[profile slow]\nregion = us-east-1\ncredential_process = ${process.execPath} ${script}\n`,
    )
    const { code, stderr } = await token(
      [DSQL_URL, '--profile', 'slow', '--token-timeout', '0.05'],
      { AWS_CONFIG_FILE: config, AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
    )
    expect(code).toBe(3)
    expect(stderr).toMatch(/^pg-iam: error: [^\n]*50 ms[^\n]*\n$/)
  })
})

/** `pg-iam doctor` for logins that are broken in different ways: the first cause that it names is the right one. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DoctorDeps, examine, type Findings } from '../../cli/login-walk.js'
import { causesOf, grantsFor } from '../../cli/doctor-causes.js'
import type { Login } from '../../core/login.js'
import { createAuroraDsql } from '../../core/providers/aurora-dsql.js'
import { createRds } from '../../core/providers/rds/rds.js'
import { createAuthority } from '../core/support/certificates.js'
import { type Ended, runCommand } from './support/command.js'
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
afterEach(() => databases.gateway.faults.clear())
afterAll(() => databases?.close())

const doctor = (
  args: readonly string[],
  env: Record<string, string | undefined> = {},
): Promise<Ended> =>
  runCommand(['doctor', ...args], {
    // Nobody listens there, as on a machine that does not reach STS.
    env: { ...databases.env, AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1', ...env },
    cwd: databases.folder,
  })
const firstCause = ({ stdout }: Ended): string => /^1\. (.*)$/m.exec(stdout)?.[1] ?? stdout

const ARN = 'arn:aws:sts::123456789012:assumed-role/deploy/session'
const deps = (own: Partial<DoctorDeps> = {}): DoctorDeps => ({
  now: Date.now,
  fetch: async () =>
    new Response(JSON.stringify({ Arn: ARN }), { headers: { date: new Date().toUTCString() } }),
  resolveCname: () => Promise.reject(Object.assign(new Error('none'), { code: 'ENODATA' })),
  credentials: async () => databases.gateway.credentials,
  ...own,
})
const options = (): object => ({
  user: 'app',
  signer: 'built-in',
  credentials: databases.gateway.credentials,
  connectTo: { host: '127.0.0.1', port: databases.gateway.port },
  tls: { ca: databases.gateway.ca },
})
const examined = (login: Login, own?: Partial<DoctorDeps>): Promise<Findings> =>
  examine(
    { name: undefined, login, flags: {}, origins: new Map() },
    { env: process.env, cwd: process.cwd() },
    deps(own),
  )
const firstOf = (findings: Findings): string => {
  const failed = findings.steps.find(({ state }) => state === 'failed')!
  return causesOf(findings, failed)[0]!.cause
}

describe('pg-iam doctor', () => {
  it('walks a login that works, and says what it needs', async () => {
    const { code, stdout, stderr } = await doctor([DSQL_URL])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const name of [
      'options',
      'versions',
      'credentials',
      'dns',
      'tcp',
      'tls',
      'token',
      'login',
    ])
      expect(stdout).toMatch(new RegExp(`^ok +${name}$`, 'm'))
    expect(stdout).toMatch(/host +abcdefghijklmnopqrstuvwxyz\S+ \(URL\)/)
    expect(stdout).toMatch(/clock +not known/)
    expect(stdout).toMatch(/role +app/)
    expect(stdout).toContain(`AWS IAM GRANT "app" TO 'arn:aws:iam::ACCOUNT:role/NAME';`)
  })

  it('prints nothing secret, neither as text nor as JSON', async () => {
    const all = await Promise.all([
      doctor([DSQL_URL]),
      doctor([DSQL_URL, '--json']),
      doctor([RDS_URL, '--verbose']),
    ])
    for (const { stdout, stderr } of all) {
      expect(stdout + stderr).not.toMatch(/signature=/i)
      expect(stdout + stderr).not.toContain(databases.env['AWS_SECRET_ACCESS_KEY'])
    }
    const { isHealthy, steps, causes } = JSON.parse(all[1].stdout) as Record<string, unknown[]>
    expect([isHealthy, causes, steps!.length]).toEqual([true, [], 10])
  })

  it('knows the identity and the clock from the answer of STS', async () => {
    const login = createAuroraDsql({ ...options(), host: DSQL_HOST }, {})
    const findings = await examine(
      { name: undefined, login, flags: {}, origins: new Map() },
      { env: {}, cwd: process.cwd() },
      deps(),
    )
    expect(findings.arn).toBe(ARN)
    expect(Math.abs(findings.clockAheadMs!)).toBeLessThan(60_000)
    expect(grantsFor(findings)).toContain(
      `AWS IAM GRANT "app" TO 'arn:aws:iam::123456789012:role/deploy';`,
    )
    expect(grantsFor(findings)).toContain(
      'arn:aws:dsql:us-east-1:123456789012:cluster/abcdefghijklmnopqrstuvwxyz',
    )
  })
})

describe('the first cause that doctor names is', () => {
  it('the clock, if it is wrong', async () => {
    // Both stand still: the difference must not be that of a slow machine.
    const date = new Date().toUTCString()
    const now = (): number => Date.parse(date) - 2_000_000
    const login = createAuroraDsql({ ...options(), host: DSQL_HOST }, {}, now)
    const ask = async (): Promise<Response> =>
      new Response(JSON.stringify({ Arn: ARN }), { headers: { date } })
    expect(firstOf(await examined(login, { now, fetch: ask }))).toBe(
      'The clock of this machine is 2000 s behind.',
    )
  })

  it('the region, if it is not that of the database', async () => {
    const login = createAuroraDsql(
      {
        ...options(),
        host: 'db.example.com',
        region: 'eu-west-1',
        tls: { ca: databases.gateway.ca, servername: DSQL_HOST },
      },
      {},
    )
    const resolveCname = async (name: string): Promise<string[]> =>
      name === 'db.example.com' ? [DSQL_HOST] : []
    expect(firstOf(await examined(login, { resolveCname }))).toBe(
      'The token is for the region eu-west-1, and the database is in us-east-1.',
    )
  })

  it('the server name, if the server did not get it, or has no certificate for it', async () => {
    databases.gateway.faults.rejectLogins({
      sqlState: '08006',
      message: 'unable to accept connection, sni was not received',
    })
    expect(firstCause(await doctor([DSQL_URL]))).toMatch(/did not get the host name \(SNI\)/)
    const other = await doctor([DSQL_URL.replace('abc', 'xyz')])
    expect(firstCause(other)).toMatch(/The certificate is for another name/)
    expect(other.code).toBe(4)
  })

  it('the grant, if the role is not granted to the identity', async () => {
    const refused = await doctor([DSQL_URL.replace('app@', 'ghost@')])
    expect(firstCause(refused)).toMatch(/^The role "ghost" does not exist, .* or is not granted/)
    expect(refused.code).toBe(5)
    databases.gateway.faults.rejectLogins({
      sqlState: '28P01',
      message: 'password authentication failed for user "app"',
    })
    expect(firstCause(await doctor([RDS_URL]))).toBe(
      'The role "app" is not granted to log in with tokens.',
    )
  })

  it('the policy, if the identity has no permission', async () => {
    const unknown = { AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN', AWS_SECRET_ACCESS_KEY: 'unknown' }
    expect(firstCause(await doctor([DSQL_URL], unknown))).toBe(
      'The identity has no permission for the action dsql:DbConnect.',
    )
  })

  it('the certificate authority, if it is not trusted', async () => {
    const file = join(databases.folder, 'other-ca.pem')
    writeFileSync(file, (await createAuthority()).ca)
    const refused = await doctor([DSQL_URL, '--ca', file])
    expect(firstCause(refused)).toBe('The certificate authority of the server is not trusted.')
    expect(refused.code).toBe(4)
  })

  it('the alias, if it leads to no database', async () => {
    const login = createRds(
      { ...options(), host: 'db.example.com', connectTo: undefined } as never,
      {},
      {
        resolveCname: async () => ['elsewhere.example.com'],
      },
    )
    expect(firstOf(await examined(login))).toMatch(
      /^The host name is an alias that leads to no database/,
    )
  })

  it('the SSO session, if it has expired', async () => {
    const home = join(databases.folder, 'home')
    mkdirSync(join(home, '.aws/sso/cache'), { recursive: true })
    const start = 'https://example.awsapps.com/start'
    writeFileSync(
      join(home, '.aws/config'),
      `[profile dev]\nsso_start_url = ${start}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = dev\nregion = us-east-1\n`,
    )
    const { createHash } = await import('node:crypto')
    writeFileSync(
      join(home, '.aws/sso/cache', `${createHash('sha1').update(start).digest('hex')}.json`),
      JSON.stringify({
        startUrl: start,
        region: 'us-east-1',
        accessToken: 'x',
        expiresAt: '2020-01-01T00:00:00Z',
      }),
    )
    const expired = await doctor([DSQL_URL, '--profile', 'dev'], {
      HOME: home,
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
    })
    expect(firstCause(expired)).toBe('The SSO session has expired.')
    expect(expired.code).toBe(3)
  })

  it('the port, if nothing listens there', async () => {
    const refused = await doctor([DSQL_URL, '--connect-to', '127.0.0.1:1'])
    expect(firstCause(refused)).toMatch(/^Nothing listens at this address: the port/)
    expect(refused.code).toBe(4)
  })

  it('the role, if there is none of that name', async () => {
    databases.gateway.faults.rejectLogins({
      sqlState: '28000',
      message: 'role "app" does not exist',
    })
    expect(firstCause(await doctor([RDS_URL]))).toBe('The role "app" does not exist.')
  })
})

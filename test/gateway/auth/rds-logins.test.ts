import { Client, type ClientConfig } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { DATABASE_HOST, OTHER_HOST, PORT, rdsToken, type RdsTokenSettings } from './rds-setting.js'

const server = usePostgres()
const log = recordLog()
let now: () => number = Date.now
let gateway: Gateway
beforeAll(async () => {
  gateway = await server.start({
    logger: log.logger,
    clock: () => now(),
    endpoints: [
      { provider: 'rds', hosts: [DATABASE_HOST] },
      { provider: 'rds', hosts: [OTHER_HOST] },
    ],
  })
})
beforeEach(() => {
  now = Date.now
})

/** Logs in with a token of the AWS SDK, by default with the gateway's own principal. */
async function logIn(settings: RdsTokenSettings = {}, config: ClientConfig = {}): Promise<unknown> {
  const { accessKeyId, secretAccessKey } = gateway.credentials
  const client = new Client({
    host: gateway.host,
    port: gateway.port,
    user: 'app',
    database: 'postgres',
    password: await rdsToken({ accessKeyId, secretAccessKey, ...settings }),
    ssl: { ca: gateway.ca, servername: DATABASE_HOST },
    ...config,
  })
  await client.connect()
  const { rows } = await client.query('select current_user as me')
  await client.end()
  return rows[0].me as unknown
}

const MINUTE_MS = 60_000

describe('a login to an rds endpoint', () => {
  it('is accepted with a token of the AWS SDK, and its identity is logged', async () => {
    expect(await logIn()).toBe('app')
    expect(await logIn({ username: 'admin' }, { user: 'admin' })).toBe('admin')
    const { details } = await log.line('gateway: accepted a login')
    expect(details).toMatchObject({
      provider: 'rds',
      identity: gateway.credentials.accessKeyId,
      role: 'app',
    })
  })

  it.each<[reason: string, what: string, settings: RdsTokenSettings, ahead?: number]>([
    ['port-wrong', 'for another port', { port: PORT + 1 }],
    ['host-unknown', 'for another host', { hostname: OTHER_HOST, region: 'us-east-1' }],
    ['region-wrong', 'for another region', { region: 'us-east-1' }],
    ['user-wrong', 'for another user', { username: 'admin' }],
    ['token-expired', 'that has ended', {}, 16 * MINUTE_MS],
    ['token-from-future', 'that is not valid yet', {}, -6 * MINUTE_MS],
    ['signature-wrong', 'with another secret', { secretAccessKey: 'other' }],
    ['access-key-unknown', 'of an unknown access key', { accessKeyId: 'AKIDNOBODY' }],
  ])('is refused (%s) with a token %s', async (reason, _what, settings, ahead = 0) => {
    now = () => Date.now() + ahead
    const before = gateway.stats().refusals
    await expect(logIn(settings)).rejects.toMatchObject({
      severity: 'FATAL',
      code: '28000',
      message: 'PAM authentication failed for user "app"',
    })
    expect(await log.refusal(reason)).toMatchObject({
      level: 'warn',
      details: { role: 'app', database: 'postgres', servername: DATABASE_HOST },
    })
    expect(gateway.stats().refusals).toEqual({
      ...before,
      [reason]: (before[reason as 'port-wrong'] ?? 0) + 1,
    })
  })

  it('is refused with a password that is not a token', async () => {
    await expect(logIn({}, { password: 'secret' })).rejects.toMatchObject({ code: '28000' })
    await log.refusal('token-malformed')
  })

  it('is refused after its access key was revoked', async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = gateway.issueCredentials()
    const keys = { accessKeyId, secretAccessKey, sessionToken }
    expect(await logIn(keys)).toBe('app')
    expect(gateway.revokeCredentials(accessKeyId)).toBe(true)
    await expect(logIn(keys)).rejects.toMatchObject({ code: '28000' })
    await log.refusal('access-key-revoked')
  })
})

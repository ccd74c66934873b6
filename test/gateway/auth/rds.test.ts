import * as fc from 'fast-check'
import { signedAt } from './dsql-setting.js'
import {
  DATABASE_HOST,
  HANDMADE_NOW,
  handmadeRdsToken,
  type HandmadeRdsToken,
  OTHER_HOST,
  PRINCIPAL,
  rdsRefusal,
  rdsToken,
  type RdsTokenSettings,
  rdsVerdict,
  type RdsVerification,
} from './rds-setting.js'
import { anyCharacter } from '../../support/any-character.js'

/** All characters that a signer must encode, and some that it must not. */
const oddText = fc.oneof(
  fc.string({ unit: anyCharacter, minLength: 1, maxLength: 63 }),
  fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 63 }),
)

describe('RDS tokens from the AWS SDK', () => {
  it('are accepted for any credentials, session token and role', () =>
    fc.assert(
      fc.asyncProperty(
        fc.stringMatching(/^\w{1,40}$/),
        oddText,
        fc.option(oddText, { nil: undefined }),
        oddText,
        fc.constantFrom([DATABASE_HOST, 'eu-west-1'] as const, [OTHER_HOST, 'us-east-1'] as const),
        async (accessKeyId, secretAccessKey, session, role, [hostname, region]) => {
          const keys = { accessKeyId, secretAccessKey, ...(session && { sessionToken: session }) }
          const token = await rdsToken({ ...keys, hostname, region, username: role })
          expect(rdsVerdict({ token, principals: [{ ...keys, roles: [role] }], role })).toBe(
            'accepted',
          )
        },
      ),
      { numRuns: 200 },
    ))

  it('are accepted if the server name is the database, this machine or missing', async () => {
    const token = await rdsToken()
    for (const servername of [DATABASE_HOST, DATABASE_HOST.toUpperCase(), 'localhost', undefined])
      expect(rdsVerdict({ token, servername })).toBe('accepted')
  })
})

type Case = [title: string, reason: string, token: RdsTokenSettings, more: Partial<RdsVerification>]

describe('a correctly signed RDS token', () => {
  const temporary = { ...PRINCIPAL, sessionToken: 'session' }
  const cases: Case[] = [
    ['with an unknown access key', 'access-key-unknown', { accessKeyId: 'AKIDOTHER' }, {}],
    ['with another secret', 'signature-wrong', { secretAccessKey: 'other' }, {}],
    [
      'with a session token for a permanent key',
      'session-token-unexpected',
      { sessionToken: 's' },
      {},
    ],
    [
      'without the session token of a temporary key',
      'session-token-missing',
      {},
      { principals: [temporary] },
    ],
    [
      'with another session token for a temporary key',
      'session-token-wrong',
      { sessionToken: 'sessions' },
      { principals: [temporary] },
    ],
    [
      'with expired temporary credentials',
      'credentials-expired',
      { sessionToken: 'session' },
      { principals: [{ ...temporary, expiresAt: Date.now() }] },
    ],
    ['for an unknown host', 'host-unknown', { hostname: `x${DATABASE_HOST}` }, {}],
    ['for this machine', 'host-unknown', { hostname: 'localhost' }, {}],
    ['for another host than the server name', 'host-wrong', {}, { servername: OTHER_HOST }],
    ['for another port', 'port-wrong', { port: 5433 }, {}],
    ['for another region', 'region-wrong', { region: 'us-east-1' }, {}],
    ['for another user', 'user-wrong', { username: 'report' }, {}],
    ['for a user in another case', 'user-wrong', { username: 'App' }, {}],
    [
      'for a role that the principal may not use',
      'role-not-allowed',
      { username: 'admin' },
      { role: 'admin' },
    ],
  ]
  it.each(cases)('%s is refused with the reason %s', async (_title, reason, settings, more) => {
    expect(rdsVerdict({ token: await rdsToken(settings), ...more })).toBe(reason)
  })

  it('is refused when it is 15 minutes old', async () => {
    const token = await rdsToken()
    const end = signedAt(token) + 900_000
    expect(rdsVerdict({ token, now: end - 1 })).toBe('accepted')
    expect(rdsVerdict({ token, now: end })).toBe('token-expired')
  })

  it('is refused if it is dated more than five minutes in the future', async () => {
    const token = await rdsToken()
    expect(rdsVerdict({ token, now: signedAt(token) - 300_000 })).toBe('accepted')
    expect(rdsVerdict({ token, now: signedAt(token) - 300_001 })).toBe('token-from-future')
  })

  it('is refused for its signature before its claims are checked', async () => {
    const token = await rdsToken({ secretAccessKey: 'other', hostname: 'elsewhere', port: 1 })
    expect(rdsVerdict({ token, role: 'ghost', now: 0 })).toBe('signature-wrong')
  })
})

describe('an RDS token with a correct signature', () => {
  it('is accepted if its fields are correct', () => {
    expect(rdsVerdict({ token: handmadeRdsToken(), now: HANDMADE_NOW })).toBe('accepted')
    const seconds = { parameters: { 'X-Amz-Expires': '301' } }
    expect(rdsVerdict({ token: handmadeRdsToken(seconds), now: HANDMADE_NOW })).toBe('accepted')
  })

  const cases: [reason: string, title: string, made: HandmadeRdsToken][] = [
    ['service-wrong', 'Aurora DSQL', { scope: { service: 'dsql' } }],
    ['region-wrong', 'another region', { scope: { region: 'eu-west-2' } }],
    ['date-inconsistent', 'a key of yesterday', { scope: { date: '20260130' } }],
    ['duration-invalid', 'more than 15 minutes', { parameters: { 'X-Amz-Expires': '901' } }],
    ['duration-invalid', 'no time at all', { parameters: { 'X-Amz-Expires': '0' } }],
    ['token-expired', 'a duration that is over', { parameters: { 'X-Amz-Expires': '300' } }],
    ['action-wrong', 'another action', { parameters: { Action: 'DbConnect' } }],
    ['action-wrong', 'no action', { parameters: { Action: undefined } }],
    ['user-wrong', 'no user', { parameters: { DBUser: undefined } }],
    ['user-wrong', 'an empty user', { parameters: { DBUser: '' } }],
    ['token-malformed', 'a host without a port', { authority: DATABASE_HOST }],
    ['token-malformed', 'a port that is none', { authority: `${DATABASE_HOST}:` }],
    ['token-malformed', 'two ports', { authority: `${DATABASE_HOST}:5432:5432` }],
    ['port-wrong', 'a port of five digits', { authority: `${DATABASE_HOST}:99999` }],
    ['token-malformed', 'a scheme', { authority: `https://${DATABASE_HOST}:5432` }],
    ['host-unknown', 'a host with a dot behind it', { authority: `${DATABASE_HOST}.:5432` }],
  ]
  it.each(cases)('is refused (%s) for %s', (reason, _title, made) => {
    expect(rdsVerdict({ token: handmadeRdsToken(made), now: HANDMADE_NOW })).toBe(reason)
  })

  it('is never accepted after one byte was changed', async () => {
    const token = await rdsToken()
    const meaning = (text: string): string =>
      text.replaceAll(/%[0-9a-f]{2}/gi, (hex) => hex.toUpperCase())
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 1 }),
        (index, character) => {
          const changed = token.slice(0, index) + character + token.slice(index + 1)
          fc.pre(meaning(changed) !== meaning(token))
          expect(rdsVerdict({ token: changed })).not.toBe('accepted')
        },
      ),
      { numRuns: 1_000 },
    )
  })
})

describe('a refused RDS login', () => {
  it('sends the client the error of RDS, whatever the reason', async () => {
    for (const [settings, role] of [
      [{ accessKeyId: 'AKIDOTHER' }, 'app'],
      [{ secretAccessKey: 'x' }, 'app'],
      [{ port: 1 }, 'app'],
      [{ username: 'admin' }, 'admin'],
    ] as const) {
      const { told } = rdsRefusal({ token: await rdsToken(settings), role })!
      expect(told).toMatchObject({
        severity: 'FATAL',
        sqlState: '28000',
        message: `PAM authentication failed for user "${role}"`,
        hint: undefined,
        detail: undefined,
      })
    }
    const expired = rdsRefusal({ token: await rdsToken(), now: Date.UTC(2100, 0, 1) })!
    expect(expired.told?.message).toBe('PAM authentication failed for user "app"')
    expect(rdsRefusal({ token: '' })).toMatchObject({ reason: 'token-missing' })
  })

  it('does not expose the token or a secret', async () => {
    const token = await rdsToken({ sessionToken: 'canary-session', port: 1 })
    const { explanation, told } = rdsRefusal({
      token,
      principals: [{ ...PRINCIPAL, sessionToken: 'canary-session' }],
    })!
    const [, signature] = /X-Amz-Signature=(\w+)/.exec(token)!
    for (const secret of ['canary-session', signature!, PRINCIPAL.secretAccessKey, token])
      expect(`${explanation} ${told?.message} ${told?.stack}`).not.toContain(secret)
  })
})

import * as fc from 'fast-check'
import {
  type CloudSqlVerifierSettings,
  createCloudSqlVerifier,
  remoteTokenInfo,
} from '../../../gateway/auth/cloud-sql.js'
import type { Verdict } from '../../../gateway/auth/verifier.js'
import {
  type GoogleTokenInfo,
  startGoogleTokenInfo,
} from '../../support/issuers/google-token-info.js'
import {
  createGoogleTokens,
  EMAIL_SCOPE,
  type GoogleTokens,
  LOGIN_SCOPE,
} from '../../support/issuers/google-tokens.js'
import type { LoopbackAnswer } from '../../support/issuers/loopback-server.js'
import { anyCharacter } from '../../support/any-character.js'

const APP = 'app@shop.iam.gserviceaccount.com'
const JANE = 'jane@example.com'

let now: number
let tokens: GoogleTokens
let google: GoogleTokenInfo
beforeAll(async () => {
  now = Date.UTC(2026, 0, 31, 12)
  tokens = createGoogleTokens(() => now)
  google = await startGoogleTokenInfo(tokens, () => now)
})
afterAll(() => google?.close())
beforeEach(() => google.intercept(() => undefined))

async function verdict(
  token: string,
  role = 'app@shop.iam',
  own: Partial<CloudSqlVerifierSettings> = {},
): Promise<Verdict> {
  const verifier = createCloudSqlVerifier({
    info: remoteTokenInfo(google.url),
    principals: [APP, JANE],
    clock: () => now,
    ...own,
  })
  return verifier.verify({ token, role, database: 'postgres', servername: undefined })
}

async function reason(...given: Parameters<typeof verdict>): Promise<string> {
  const answer = await verdict(...given)
  return 'refused' in answer ? answer.refused.reason : 'accepted'
}

describe('a Google Cloud access token', () => {
  it('is accepted for the user of its account', async () => {
    const { value, expiresAt } = tokens.issue(APP)
    expect(await verdict(value)).toEqual({
      accepted: { identity: APP, token: { fingerprint: expect.any(Buffer), expiresAt } },
    })
    expect(await reason(tokens.issue(JANE).value, JANE)).toBe('accepted')
  })

  it('is identified by a fingerprint that does not contain it', async () => {
    const [one, other] = [tokens.issue(APP).value, tokens.issue(APP).value]
    const fingerprints = await Promise.all(
      [one, one, other].map(async (value) => {
        const answer = await verdict(value)
        return 'accepted' in answer ? String(answer.accepted.token?.fingerprint) : ''
      }),
    )
    expect(fingerprints[0]).toBe(fingerprints[1])
    expect(fingerprints[0]).not.toBe(fingerprints[2])
    expect(fingerprints[0]).not.toContain(one)
  })

  it.each(['sqlservice.admin', 'cloud-platform'])(
    'is accepted with the scope %s',
    async (scope) => {
      const scopes = [`https://www.googleapis.com/auth/${scope}`, EMAIL_SCOPE]
      expect(await reason(tokens.issue(APP, { scopes }).value)).toBe('accepted')
    },
  )

  it.each<[string, string, () => string, string?]>([
    ['that is empty', 'token-missing', () => ''],
    ['with a line break', 'token-malformed', () => `${tokens.issue(APP).value}\r\nx: y`],
    ['that was never issued', 'token-unknown', () => 'ya29.c.unknown'],
    ['for other scopes', 'scope-wrong', () => tokens.issue(APP, { scopes: [EMAIL_SCOPE] }).value],
    [
      'for a scope that only starts with the correct one',
      'scope-wrong',
      () => tokens.issue(APP, { scopes: [`${LOGIN_SCOPE}.more`] }).value,
    ],
    ['of another account', 'principal-unknown', () => tokens.issue('eve@example.com').value],
    ['of another user', 'user-wrong', () => tokens.issue(JANE).value],
    ['for the whole address of an account', 'user-wrong', () => tokens.issue(APP).value, APP],
    [
      'for the user in another case',
      'user-wrong',
      () => tokens.issue(JANE).value,
      'Jane@example.com',
    ],
  ])('%s is refused with the reason %s', async (_title, expected, make, role = 'app@shop.iam') => {
    expect(await reason(make(), role)).toBe(expected)
  })

  it('is refused if it was revoked', async () => {
    const { value } = tokens.issue(APP)
    expect(await reason(value)).toBe('accepted')
    tokens.revoke(value)
    expect(await reason(value)).toBe('token-unknown')
  })

  it('is refused after its expiry, according to Google or to the clock of the gateway', async () => {
    const { value } = tokens.issue(APP, { lifeSecs: 60 })
    expect(await reason(value, undefined, { clock: () => now + 59_999 })).toBe('accepted')
    expect(await reason(value, undefined, { clock: () => now + 60_000 })).toBe('token-expired')
    const before = now
    now += 60_000
    expect(await reason(value)).toBe('token-unknown')
    now = before
  })

  it.each<[string, LoopbackAnswer]>([
    ['fails', { status: 503, body: 'later' }],
    ['is not JSON', { body: 'hello' }],
    ['has no e-mail address', { body: { scope: LOGIN_SCOPE, exp: '9999999999' } }],
    [
      'has an unverified e-mail address',
      { body: { email: APP, email_verified: 'false', scope: LOGIN_SCOPE, exp: '9999999999' } },
    ],
    ['has no scope', { body: { email: APP, exp: '9999999999' } }],
    ['has no expiry', { body: { email: APP, scope: LOGIN_SCOPE } }],
  ])('is refused if the token info %s', async (_title, answer) => {
    google.intercept(() => answer)
    expect(await reason(tokens.issue(APP).value)).toBe('verifier-failed')
  })

  it('is not forwarded to a redirect target', async () => {
    let asked = 0
    google.intercept(() =>
      ++asked === 1 ? { status: 307, headers: { location: google.url }, body: '' } : undefined,
    )
    expect(await reason(tokens.issue(APP).value)).toBe('verifier-failed')
    expect(asked).toBe(1)
  })

  it('is sent in a header, not in the URL', async () => {
    const before = google.requests.length
    await reason(tokens.issue(APP).value)
    expect(google.requests.slice(before)).toEqual(['POST /tokeninfo'])
  })

  it('is refused with a reason instead of an exception, for any text', () =>
    fc.assert(
      fc.asyncProperty(fc.string({ unit: anyCharacter, minLength: 1 }), async (text) => {
        const found = await reason(text, undefined, {
          info: async () => Promise.resolve(undefined),
        })
        expect(['token-malformed', 'token-unknown']).toContain(found)
      }),
    ))
})

describe('a Cloud SQL client with a refused token', () => {
  it.each([
    ['app@shop.iam', 'service account'],
    ['123-compute@developer', 'service account'],
    ['jane@example.com', 'user'],
    ['app', 'user'],
  ])(
    "that logs in as %s gets Cloud SQL's error for a %s, whatever the reason",
    async (role, kind) => {
      for (const token of ['', 'CANARY', tokens.issue('eve@example.com').value]) {
        const answer = await verdict(token, role)
        expect(answer).toMatchObject({
          refused: {
            told: {
              severity: 'FATAL',
              sqlState: '28000',
              message: `Cloud SQL IAM ${kind} authentication failed for user "${role}"`,
            },
          },
        })
        if (token !== '') expect(JSON.stringify(answer)).not.toContain(token)
      }
    },
  )
})

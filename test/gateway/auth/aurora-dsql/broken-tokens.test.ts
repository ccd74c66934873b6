import * as fc from 'fast-check'
import {
  HANDMADE_NOW,
  PRINCIPAL,
  handmadeToken,
  sdkToken,
  verdict,
  type HandmadeToken,
} from './verifier-setting.js'

/** Upper or lower case of a percent-encoding is the one change that is none. */
function meaning(token: string): string {
  return token.replaceAll(/%[0-9a-f]{2}/gi, (hex) => hex.toUpperCase())
}

function verdictOf(made: HandmadeToken): string {
  return verdict({ token: handmadeToken(made), now: HANDMADE_NOW })
}

describe('a token of which one byte is changed', () => {
  it('is never accepted', async () => {
    const session = 'AQoEXAMPLE/+=='
    const token = await sdkToken({ sessionToken: session })
    const principals = [{ ...PRINCIPAL, sessionToken: session }]
    expect(verdict({ token, principals })).toBe('accepted')
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 1 }),
        (index, character) => {
          const changed = token.slice(0, index) + character + token.slice(index + 1)
          fc.pre(meaning(changed) !== meaning(token))
          expect(verdict({ token: changed, principals })).not.toBe('accepted')
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('is never accepted when it is cut off or longer', async () => {
    const token = await sdkToken()
    for (let length = 0; length < token.length; length++)
      expect(verdict({ token: token.slice(0, length) })).not.toBe('accepted')
    for (const more of ['0', '&', '&a=b', ' ', '\n', '&Action=DbConnect'])
      expect(verdict({ token: token + more })).not.toBe('accepted')
  })

  it('is refused with a reason and never an exception, whatever text came', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        expect(['token-missing', 'token-malformed']).toContain(verdict({ token: text }))
      }),
    )
  })
})

describe('a token whose signature is right', () => {
  it('is accepted when its fields are', () => {
    expect(verdictOf({})).toBe('accepted')
    expect(verdictOf({ parameters: { 'X-Amz-User-Agent': 'aws-sdk/1' } })).toBe('accepted')
  })

  const scope = { date: '20260131', region: 'us-east-1', service: 'dsql' }
  const cases: [reason: string, title: string, made: HandmadeToken][] = [
    ['service-wrong', 'another service', { scope: { ...scope, service: 'rds-db' } }],
    ['region-wrong', 'another region', { scope: { ...scope, region: 'us-east-2' } }],
    ['date-inconsistent', 'a key of yesterday', { scope: { ...scope, date: '20260130' } }],
    ['duration-invalid', 'no duration', { parameters: { 'X-Amz-Expires': '0' } }],
    ['duration-invalid', 'a negative duration', { parameters: { 'X-Amz-Expires': '-900' } }],
    ['duration-invalid', 'more than a week', { parameters: { 'X-Amz-Expires': '604801' } }],
    ['token-expired', 'a duration that is over', { parameters: { 'X-Amz-Expires': '300' } }],
    ['token-expired', 'a date of last year', { timestamp: '20250131T120000Z' }],
    ['token-from-future', 'a date of next year', { timestamp: '20270131T120000Z' }],
    ['action-wrong', 'an unknown action', { parameters: { Action: 'DbConnectSuper' } }],
    ['action-wrong', 'an action in lower case', { parameters: { Action: 'dbconnect' } }],
    ['action-wrong', 'no action', { parameters: { Action: undefined } }],
    [
      'token-malformed',
      'another algorithm',
      { parameters: { 'X-Amz-Algorithm': 'AWS4-ECDSA-P256-SHA256' } },
    ],
    [
      'token-malformed',
      'more signed headers',
      { parameters: { 'X-Amz-SignedHeaders': 'host;x-amz-date' } },
    ],
    ['token-malformed', 'no signed headers', { parameters: { 'X-Amz-SignedHeaders': undefined } }],
    ['token-malformed', 'no duration', { parameters: { 'X-Amz-Expires': undefined } }],
    ['token-malformed', 'a duration with a point', { parameters: { 'X-Amz-Expires': '900.5' } }],
    ['token-malformed', 'a duration in words', { parameters: { 'X-Amz-Expires': 'Infinity' } }],
    ['token-malformed', 'a date that does not exist', { timestamp: '20260230T120000Z' }],
    ['token-malformed', 'a date of another format', { timestamp: '2026-01-31T12:00:00Z' }],
    [
      'token-malformed',
      'a credential without its end',
      { parameters: { 'X-Amz-Credential': 'AKIDEXAMPLE/20260131/us-east-1/dsql' } },
    ],
    [
      'token-malformed',
      'a credential with more',
      {
        parameters: { 'X-Amz-Credential': 'AKIDEXAMPLE/20260131/us-east-1/dsql/aws4_request/more' },
      },
    ],
    ['token-malformed', 'no credential', { parameters: { 'X-Amz-Credential': undefined } }],
    ['token-malformed', 'a scheme', { host: 'https://localhost' }],
    ['token-malformed', 'no host', { host: '' }],
    ['token-malformed', 'a user in its host', { host: 'app@localhost' }],
    ['host-unknown', 'a host with a dot behind it', { host: 'localhost.' }],
    [
      'session-token-unexpected',
      'an empty session',
      { parameters: { 'X-Amz-Security-Token': '' } },
    ],
    [
      'access-key-unknown',
      'a key named as a method',
      { parameters: { 'X-Amz-Credential': '__proto__/20260131/us-east-1/dsql/aws4_request' } },
    ],
  ]
  it.each(cases)('is refused (%s) for %s', (reason, _title, made) => {
    expect(verdictOf(made)).toBe(reason)
  })

  it('is refused when a parameter comes twice, even with the same value', () => {
    const token = handmadeToken()
    expect(verdict({ token: `${token}&Action=DbConnect`, now: HANDMADE_NOW })).toBe(
      'token-malformed',
    )
  })

  it('is refused when its signature is in upper case', () => {
    const token = handmadeToken().replace(/[0-9a-f]{64}$/, (hex) => hex.toUpperCase())
    expect(verdict({ token, now: HANDMADE_NOW })).toBe('token-malformed')
  })

  it('is accepted with its parameters in any order', () => {
    const [host, query] = handmadeToken().split('/?') as [string, string]
    fc.assert(
      fc.property(fc.shuffledSubarray(query.split('&'), { minLength: 7 }), (parameters) => {
        expect(verdict({ token: `${host}/?${parameters.join('&')}`, now: HANDMADE_NOW })).toBe(
          'accepted',
        )
      }),
    )
  })
})

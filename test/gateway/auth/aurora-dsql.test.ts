import * as fc from 'fast-check'
import { createAuroraDsqlVerifier, takeClusterId } from '../../../gateway/auth/aurora-dsql.js'
import { createPrincipals } from '../../../gateway/auth/aws.js'
import {
  CLUSTER,
  HANDMADE_NOW,
  handmadeToken,
  type HandmadeToken,
  OTHER_CLUSTER,
  PRINCIPAL,
  refusalOf,
  sdkToken,
  signedAt,
  type TokenSettings,
  verdict,
  type Verification,
} from './dsql-setting.js'
import { anyCharacter } from '../../support/any-character.js'

/** All characters that a signer must encode, and some that it must not. */
const oddText = fc.oneof(
  fc.string({ unit: anyCharacter, minLength: 1, maxLength: 200 }),
  fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 200 }),
)

describe('Aurora DSQL tokens from the AWS SDK', () => {
  it('are accepted for any credentials, session token and duration', () =>
    fc.assert(
      fc.asyncProperty(
        fc.stringMatching(/^\w{1,40}$/),
        oddText,
        fc.option(oddText, { nil: undefined }),
        fc.integer({ min: 2, max: 604_800 }),
        fc.boolean(),
        fc.constantFrom([CLUSTER, 'us-east-1'], [OTHER_CLUSTER, 'eu-west-1']),
        async (accessKeyId, secretAccessKey, session, expiresIn, admin, [hostname, region]) => {
          const keys = { accessKeyId, secretAccessKey, ...(session && { sessionToken: session }) }
          const token = await sdkToken({
            ...keys,
            expiresIn,
            admin,
            hostname,
            region,
          })
          const principals = [{ ...keys, roles: ['admin', 'app'] }]
          expect(verdict({ token, principals, role: admin ? 'admin' : 'app' })).toBe('accepted')
        },
      ),
      { numRuns: 300 },
    ))

  it('are accepted if the server name is the cluster, this machine or missing', async () => {
    const token = await sdkToken()
    for (const servername of [CLUSTER, CLUSTER.toUpperCase(), 'localhost', undefined])
      expect(verdict({ token, servername })).toBe('accepted')
  })

  it.each(['localhost', '127.0.0.1'])(
    'are accepted for the host %s in the region of any cluster',
    async (hostname) => {
      for (const region of ['us-east-1', 'eu-west-1'])
        expect(verdict({ token: await sdkToken({ hostname, region }) })).toBe('accepted')
      expect(verdict({ token: await sdkToken({ hostname, region: 'ap-south-1' }) })).toBe(
        'region-wrong',
      )
    },
  )
})

type Case = [title: string, reason: string, token: TokenSettings, more: Partial<Verification>]

describe('a correctly signed Aurora DSQL token', () => {
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
    [
      'for a host that is not a cluster',
      'host-unknown',
      { hostname: CLUSTER.replace('a', 'b') },
      {},
    ],
    ['for a host with a port', 'token-malformed', { hostname: `${CLUSTER}:5432` }, {}],
    ['for another cluster than the server name', 'host-wrong', {}, { servername: OTHER_CLUSTER }],
    [
      'for this machine, with a cluster as server name',
      'host-wrong',
      { hostname: 'localhost' },
      { servername: CLUSTER },
    ],
    ['for another region', 'region-wrong', { region: 'eu-west-1' }, {}],
    ['for admin, used by another role', 'action-wrong', { admin: true }, {}],
    ['for other roles, used by admin', 'action-wrong', {}, { role: 'admin' }],
    ['for a role that the principal may not use', 'role-not-allowed', {}, { role: 'other' }],
  ]
  it.each(cases)('%s is refused with the reason %s', async (_title, reason, settings, more) => {
    expect(verdict({ token: await sdkToken(settings), ...more })).toBe(reason)
  })

  it('is refused from its expiry on', async () => {
    const token = await sdkToken({ expiresIn: 60 })
    const end = signedAt(token) + 60_000
    expect(verdict({ token, now: end - 1 })).toBe('accepted')
    expect(verdict({ token, now: end })).toBe('token-expired')
  })

  it('is refused if it is dated more than five minutes in the future', async () => {
    const token = await sdkToken()
    expect(verdict({ token, now: signedAt(token) - 300_000 })).toBe('accepted')
    expect(verdict({ token, now: signedAt(token) - 300_001 })).toBe('token-from-future')
  })

  it('is refused for its signature before its claims are checked', async () => {
    const token = await sdkToken({ secretAccessKey: 'other', hostname: 'elsewhere', admin: true })
    expect(verdict({ token, role: 'ghost', now: 0 })).toBe('signature-wrong')
  })
})

describe('a refused Aurora DSQL login', () => {
  it("sends the client Aurora DSQL's error without the reason", async () => {
    for (const settings of [
      { accessKeyId: 'AKIDOTHER' },
      { secretAccessKey: 'x' },
      { region: 'eu-west-1' },
    ]) {
      const { told } = refusalOf({ token: await sdkToken(settings) })!
      expect(told).toMatchObject({
        severity: 'FATAL',
        sqlState: '08006',
        message: 'unable to accept connection, access denied',
        hint: undefined,
        detail: undefined,
      })
    }
  })

  it('sends the hint about expired tokens, as Aurora DSQL does', async () => {
    const told = refusalOf({ token: await sdkToken(), now: Date.UTC(2100, 0, 1) })!.told!
    expect(told.sqlState).toBe('08006')
    expect(told.hint).toMatch(
      /^Signature expired: \d{8}T\d{6}Z is now earlier than 21000101T000000Z/,
    )
  })

  it('sends the hint about an action that does not match the role, as Aurora DSQL does', async () => {
    const told = refusalOf({ token: await sdkToken(), role: 'admin' })!.told!
    expect(told.hint).toBe('Wrong user to action mapping. user: admin, action: DbConnect')
  })

  it('has the SQLSTATE 28000 if the principal may not use the role', async () => {
    const told = refusalOf({ token: await sdkToken(), role: 'other' })!.told!
    expect(told).toMatchObject({
      sqlState: '28000',
      message: 'unable to accept connection, access denied',
    })
  })

  it('does not expose the token or a secret', async () => {
    const session = 'canary-session'
    const token = await sdkToken({ sessionToken: session, hostname: 'elsewhere' })
    const principals = [{ ...PRINCIPAL, sessionToken: session }]
    const { explanation, told } = refusalOf({ token, principals })!
    const shown = `${explanation} ${told?.message} ${told?.hint} ${told?.detail} ${told?.stack}`
    const [, signature] = /X-Amz-Signature=(\w+)/.exec(token)!
    for (const secret of [session, signature!, PRINCIPAL.secretAccessKey, token])
      expect(shown).not.toContain(secret)
  })

  it('reports a revoked access key as revoked', async () => {
    const principals = createPrincipals([PRINCIPAL])
    const verifier = createAuroraDsqlVerifier({ principals, clusters: [CLUSTER], clock: Date.now })
    const attempt = {
      token: await sdkToken(),
      role: 'app',
      database: 'postgres',
      servername: CLUSTER,
    }
    expect(verifier.verify(attempt)).toMatchObject({
      accepted: {
        identity: PRINCIPAL.accessKeyId,
        token: { expiresAt: signedAt(attempt.token) + 900_000 },
      },
    })
    expect(principals.revoke(PRINCIPAL.accessKeyId)).toBe(true)
    expect(verifier.verify(attempt)).toMatchObject({ refused: { reason: 'access-key-revoked' } })
    expect(principals.revoke(PRINCIPAL.accessKeyId)).toBe(false)
  })
})

/** The case of a percent-encoding is the only change without an effect. */
function meaning(token: string): string {
  return token.replaceAll(/%[0-9a-f]{2}/gi, (hex) => hex.toUpperCase())
}

function verdictOf(made: HandmadeToken): string {
  return verdict({ token: handmadeToken(made), now: HANDMADE_NOW })
}

describe('an Aurora DSQL token with one changed byte', () => {
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

  it('is never accepted if it is truncated or extended', async () => {
    const token = await sdkToken()
    for (let length = 0; length < token.length; length++)
      expect(verdict({ token: token.slice(0, length) })).not.toBe('accepted')
    for (const more of ['0', '&', '&a=b', ' ', '\n', '&Action=DbConnect'])
      expect(verdict({ token: token + more })).not.toBe('accepted')
  })

  it('is refused with a reason instead of an exception, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter, maxLength: 400 }), (text) => {
        expect(['token-missing', 'token-malformed']).toContain(verdict({ token: text }))
      }),
    )
  })
})

describe('a token with a correct signature', () => {
  it('is accepted if its fields are correct', () => {
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

  it('is refused if a parameter occurs twice, even with the same value', () => {
    const token = handmadeToken()
    expect(verdict({ token: `${token}&Action=DbConnect`, now: HANDMADE_NOW })).toBe(
      'token-malformed',
    )
  })

  it('is refused if its signature is in upper case', () => {
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

const idOf = (host: string): string => host.slice(0, host.indexOf('.'))

describe('takeClusterId', () => {
  it.each([
    ['-c amzn-cluster-id=abc', 'abc', undefined],
    ['-c  amzn-cluster-id=abc ', 'abc', undefined],
    ['-camzn-cluster-id=abc', 'abc', undefined],
    ['--amzn-cluster-id=abc', 'abc', undefined],
    ['-c amzn_cluster_id=abc', 'abc', undefined],
    ['-c search_path=shop -c amzn-cluster-id=abc', 'abc', '-c search_path=shop'],
    ['-c amzn-cluster-id=abc -c a=b', 'abc', '-c a=b'],
    ['-c amzn-cluster-id=one -c amzn-cluster-id=two', 'two', undefined],
    ['-c amzn-cluster-id=', '', undefined],
    ['-c a=b', undefined, '-c a=b'],
    [
      '-c application_name=x-c\\ amzn-cluster-id=abc',
      undefined,
      '-c application_name=x-c\\ amzn-cluster-id=abc',
    ],
  ])('extracts from the options %p the cluster ID %p', (options, clusterId, left) => {
    const given = new Map([
      ['application_name', 'shop'],
      ['options', options],
    ])
    const taken = takeClusterId(given)
    expect(taken.clusterId).toBe(clusterId)
    expect(taken.parameters.get('options')).toBe(left)
    expect(taken.parameters.get('application_name')).toBe('shop')
    expect(given.get('options')).toBe(options)
  })

  it('returns parameters without options unchanged', () => {
    expect(takeClusterId(new Map())).toEqual({ clusterId: undefined, parameters: new Map() })
  })
})

describe('a token of a client that requests a cluster ID', () => {
  it('is accepted for that cluster', async () => {
    const token = await sdkToken()
    for (const servername of [CLUSTER, 'localhost', undefined])
      expect(verdict({ token, servername, clusterId: idOf(CLUSTER) })).toBe('accepted')
  })

  it('is refused for another cluster, whatever the server name is', async () => {
    const token = await sdkToken()
    for (const servername of [CLUSTER, 'localhost', undefined])
      expect(verdict({ token, servername, clusterId: idOf(OTHER_CLUSTER) })).toBe('host-wrong')
    expect(refusalOf({ token, clusterId: idOf(OTHER_CLUSTER) })?.explanation).toBe(
      `the token is for ${CLUSTER}, but the client requested the cluster "${idOf(OTHER_CLUSTER)}"`,
    )
  })
})

import * as fc from 'fast-check'
import { createAuroraDsqlVerifier } from '../../../../gateway/auth/aurora-dsql/verifier.js'
import { createPrincipals } from '../../../../gateway/auth/aws/principals.js'
import {
  CLUSTER,
  OTHER_CLUSTER,
  PRINCIPAL,
  refusalOf,
  sdkToken,
  signedAt,
  verdict,
  type TokenSettings,
  type Verification,
} from './verifier-setting.js'

/** Every character that a signer has to encode, and some that it must not. */
const oddText = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }),
  fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 200 }),
)

describe('tokens of the AWS SDK', () => {
  it('are accepted, whatever the keys, the session and the duration', () =>
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

  it('are accepted when the client dialled the cluster, this machine, or gave no name', async () => {
    const token = await sdkToken()
    for (const servername of [CLUSTER, CLUSTER.toUpperCase(), 'localhost', undefined])
      expect(verdict({ token, servername })).toBe('accepted')
  })

  it.each(['localhost', '127.0.0.1'])(
    'are accepted for %s in the region of any cluster',
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

describe('a token that was properly signed', () => {
  const temporary = { ...PRINCIPAL, sessionToken: 'session' }
  const cases: Case[] = [
    ['by an access key that nobody has', 'access-key-unknown', { accessKeyId: 'AKIDOTHER' }, {}],
    ['with another secret', 'signature-wrong', { secretAccessKey: 'other' }, {}],
    [
      'with a session that the key does not have',
      'session-token-unexpected',
      { sessionToken: 's' },
      {},
    ],
    [
      'without the session of a temporary key',
      'session-token-missing',
      {},
      { principals: [temporary] },
    ],
    [
      'with another session of a temporary key',
      'session-token-wrong',
      { sessionToken: 'sessions' },
      { principals: [temporary] },
    ],
    [
      'by temporary credentials that have ended',
      'credentials-expired',
      { sessionToken: 'session' },
      { principals: [{ ...temporary, expiresAt: Date.now() }] },
    ],
    ['for a host that is no cluster', 'host-unknown', { hostname: CLUSTER.replace('a', 'b') }, {}],
    ['for a host with a port', 'token-malformed', { hostname: `${CLUSTER}:5432` }, {}],
    [
      'for another cluster than the client dialled',
      'host-wrong',
      {},
      { servername: OTHER_CLUSTER },
    ],
    [
      'for this machine by a client that dialled a cluster',
      'host-wrong',
      { hostname: 'localhost' },
      { servername: CLUSTER },
    ],
    ['for another region', 'region-wrong', { region: 'eu-west-1' }, {}],
    ['for administrators, by an ordinary role', 'action-wrong', { admin: true }, {}],
    ['for ordinary roles, by an administrator', 'action-wrong', {}, { role: 'admin' }],
    ['for a role that the principal may not use', 'role-not-allowed', {}, { role: 'other' }],
  ]
  it.each(cases)('%s is refused: %s', async (_title, reason, settings, more) => {
    expect(verdict({ token: await sdkToken(settings), ...more })).toBe(reason)
  })

  it('is refused from the moment on in which it ends', async () => {
    const token = await sdkToken({ expiresIn: 60 })
    const end = signedAt(token) + 60_000
    expect(verdict({ token, now: end - 1 })).toBe('accepted')
    expect(verdict({ token, now: end })).toBe('token-expired')
  })

  it('is refused when it is dated more than five minutes ahead', async () => {
    const token = await sdkToken()
    expect(verdict({ token, now: signedAt(token) - 300_000 })).toBe('accepted')
    expect(verdict({ token, now: signedAt(token) - 300_001 })).toBe('token-from-future')
  })

  it('is refused before its claims are looked at when the signature is wrong', async () => {
    const token = await sdkToken({ secretAccessKey: 'other', hostname: 'elsewhere', admin: true })
    expect(verdict({ token, role: 'ghost', now: 0 })).toBe('signature-wrong')
  })
})

describe('a refusal', () => {
  it('tells the client what Aurora DSQL would, and nothing of the reason', async () => {
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

  it('hints at an ended token, as Aurora DSQL does', async () => {
    const told = refusalOf({ token: await sdkToken(), now: Date.UTC(2100, 0, 1) })!.told!
    expect(told.sqlState).toBe('08006')
    expect(told.hint).toMatch(
      /^Signature expired: \d{8}T\d{6}Z is now earlier than 21000101T000000Z/,
    )
  })

  it('hints at an action that does not fit the role, as Aurora DSQL does', async () => {
    const told = refusalOf({ token: await sdkToken(), role: 'admin' })!.told!
    expect(told.hint).toBe('Wrong user to action mapping. user: admin, action: DbConnect')
  })

  it('has the SQLSTATE of an authorization where the role is not the principal’s', async () => {
    const told = refusalOf({ token: await sdkToken(), role: 'other' })!.told!
    expect(told).toMatchObject({
      sqlState: '28000',
      message: 'unable to accept connection, access denied',
    })
  })

  it('never holds the token or a secret', async () => {
    const session = 'canary-session'
    const token = await sdkToken({ sessionToken: session, hostname: 'elsewhere' })
    const principals = [{ ...PRINCIPAL, sessionToken: session }]
    const { explanation, told } = refusalOf({ token, principals })!
    const shown = `${explanation} ${told?.message} ${told?.hint} ${told?.detail} ${told?.stack}`
    const [, signature] = /X-Amz-Signature=(\w+)/.exec(token)!
    for (const secret of [session, signature!, PRINCIPAL.secretAccessKey, token])
      expect(shown).not.toContain(secret)
  })

  it('names a revoked access key as such', async () => {
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

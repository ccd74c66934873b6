import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import * as fc from 'fast-check'
import {
  AUDIENCE,
  OBJECT_ID,
  OTHER_OBJECT_ID,
  OTHER_TENANT,
  entraClaims,
  type EntraClaims,
} from '../../../support/issuers/entra-claims.js'
import { createSigningKeys, type SigningKeys } from '../../../support/issuers/signing-keys.js'
import { ISSUER, NOW, entraSetting, type EntraSetting } from './entra-setting.js'
import { anyCharacter } from '../../../support/any-character.js'

let keys: SigningKeys
let setting: EntraSetting
beforeAll(async () => {
  keys = await createSigningKeys()
  setting = entraSetting(keys)
})

const seconds = (epochMs: number): number => Math.floor(epochMs / 1_000)
const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('an Entra ID token', () => {
  it('is accepted for a role of its owner, until it expires', async () => {
    const token = await setting.token()
    expect(await setting.verdict(token)).toEqual({
      accepted: {
        identity: OBJECT_ID,
        token: {
          fingerprint: Buffer.from(token.split('.')[2] ?? '', 'base64url'),
          expiresAt: NOW + 3_600_000,
        },
      },
    })
  })

  it('is accepted for a role of a group of its owner', async () => {
    const token = await setting.token({ oid: OTHER_OBJECT_ID, groups: ['x', OBJECT_ID] })
    expect(await setting.verdict(token)).toMatchObject({ accepted: { identity: OTHER_OBJECT_ID } })
  })

  it('is accepted for each audience and each issuer', async () => {
    const own = { audiences: ['https://other', AUDIENCE] as const, issuers: ['https://x', ISSUER] }
    expect(await setting.reason(await setting.token(), own)).toBe('accepted')
    expect(await setting.reason(await setting.token({ aud: ['a', AUDIENCE] }))).toBe('accepted')
  })

  it('is refused from its expiry on', async () => {
    const token = await setting.token()
    const end = NOW + 3_600_000
    expect(await setting.reason(token, { clock: () => end - 1_000 })).toBe('accepted')
    expect(await setting.reason(token, { clock: () => end })).toBe('token-expired')
  })

  it('is refused before its not-before time', async () => {
    const token = await setting.token()
    expect(await setting.reason(token, { clock: () => NOW - 1_000 })).toBe('token-not-yet-valid')
    expect(await setting.reason(token, { clock: () => NOW })).toBe('accepted')
  })
})

type Case = [title: string, reason: string, claims: EntraClaims, role?: string]

describe('a correctly signed Entra ID token', () => {
  const cases: Case[] = [
    ['for another audience', 'audience-wrong', { aud: 'https://management.azure.com' }],
    ['for a longer audience', 'audience-wrong', { aud: `${AUDIENCE}.example.com` }],
    ['of another tenant', 'tenant-wrong', { tid: OTHER_TENANT }],
    [
      'of another tenant with the expected issuer',
      'tenant-wrong',
      { tid: OTHER_TENANT, iss: ISSUER },
    ],
    ['by another issuer', 'issuer-wrong', { iss: 'https://issuer.example.com/' }],
    ['by the expected issuer without its slash', 'issuer-wrong', { iss: ISSUER.slice(0, -1) }],
    ['that expired a minute ago', 'token-expired', { exp: seconds(NOW) - 60 }],
    ['that is valid from the next minute', 'token-not-yet-valid', { nbf: seconds(NOW) + 60 }],
    ['of another principal', 'principal-unknown', { oid: OTHER_OBJECT_ID }],
    ['of a member of other groups', 'principal-unknown', { oid: OTHER_OBJECT_ID, groups: ['x'] }],
    ['with groups that are not a list', 'principal-unknown', { oid: 'x', groups: OBJECT_ID }],
    ['for a role of another principal', 'role-not-allowed', {}, 'admin'],
    ['for a role in another case', 'role-not-allowed', {}, 'APP'],
    ['without an expiry', 'claim-missing', { exp: undefined }],
    ['without an audience', 'claim-missing', { aud: undefined }],
    ['without an issuer', 'claim-missing', { iss: undefined }],
    ['without a tenant', 'claim-missing', { tid: undefined }],
    ['without an owner', 'claim-missing', { oid: undefined }],
    ['with an expiry that is not a number', 'token-malformed', { exp: 'never' as never }],
  ]
  it.each(cases)(
    '%s is refused with the reason %s',
    async (_title, reason, claims, role = 'app') => {
      // An omitted tenant means that the claim is missing, not the default tenant.
      expect(await setting.reason(await setting.token(claims), { role })).toBe(reason)
    },
  )
})

describe('the signature of an Entra ID token', () => {
  it('is refused if its key is not published', async () => {
    const others = await createSigningKeys()
    const token = await others.sign(entraClaims({}, NOW))
    expect(await setting.reason(token)).toBe('key-unknown')
  })

  it('is refused if it was made with another key than the token names', async () => {
    const others = await createSigningKeys()
    const token = await others.sign(entraClaims({}, NOW), { header: { kid: keys.current() } })
    expect(await setting.reason(token)).toBe('signature-wrong')
  })

  it('is refused if its key was revoked, and accepted with the next key', async () => {
    const own = await createSigningKeys()
    const rotating = entraSetting(own)
    const old = own.current()
    expect(await rotating.reason(await rotating.token())).toBe('accepted')
    await own.rotate()
    expect(await rotating.reason(await rotating.token({}, { keyId: old }))).toBe('accepted')
    expect(await rotating.reason(await rotating.token())).toBe('accepted')
    own.revoke(old)
    expect(await rotating.reason(await rotating.token({}, { keyId: old }))).toBe('key-revoked')
    expect(await rotating.reason(await rotating.token())).toBe('accepted')
  })

  it('is verified before the claims', async () => {
    const others = await createSigningKeys()
    const claims = entraClaims({ aud: 'x', exp: 1, tid: OTHER_TENANT }, NOW)
    const token = await others.sign(claims, { header: { kid: keys.current() } })
    expect(await setting.reason(token)).toBe('signature-wrong')
  })

  it.each([
    ['none', () => ''],
    [
      'HS256',
      // The public key as an HMAC secret: the attack that uses a public key to sign.
      (text: string) =>
        createHmac('sha256', JSON.stringify(keys.published().keys[0]))
          .update(text)
          .digest('base64url'),
    ],
    [
      'ES256',
      (text: string) => {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
        return sign('sha256', Buffer.from(text), privateKey).toString('base64url')
      },
    ],
  ])('is refused with the algorithm %s', async (alg, make) => {
    const text = `${encoded({ alg, typ: 'JWT', kid: keys.current() })}.${encoded(entraClaims({}, NOW))}`
    expect(await setting.reason(`${text}.${make(text)}`)).toBe('algorithm-wrong')
  })

  it('is refused without a key ID, even if there is only one key', async () => {
    const token = await setting.token({}, { header: { kid: undefined } })
    expect(await setting.reason(token)).toBe('token-malformed')
  })
})

describe('an invalid Entra ID token', () => {
  it('is refused with a reason instead of an exception', async () => {
    expect(await setting.reason('')).toBe('token-missing')
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: anyCharacter, minLength: 1, maxLength: 300 }),
        async (text) => {
          expect(await setting.reason(text)).toBe('token-malformed')
        },
      ),
      { numRuns: 200 },
    )
  })

  it('is refused if one byte was changed', async () => {
    const token = await setting.token()
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.stringMatching(/^[\w.]$/), async (at, byte) => {
        fc.pre(token[at] !== byte)
        // The last character of the signature has unused bits.
        fc.pre(at < token.length - 1)
        const changed = token.slice(0, at) + byte + token.slice(at + 1)
        expect(await setting.reason(changed)).not.toBe('accepted')
      }),
      { numRuns: 300 },
    )
  })

  it('is refused if the claims are from another token', async () => {
    const [head, , signature] = (await setting.token()).split('.') as [string, string, string]
    const claims = encoded(entraClaims({ oid: OTHER_OBJECT_ID }, NOW))
    expect(await setting.reason(`${head}.${claims}.${signature}`)).toBe('signature-wrong')
  })
})

describe('a client with a refused Entra ID token', () => {
  it.each<[EntraClaims, RegExp]>([
    [
      { aud: 'x' },
      /^The access token does not have a valid audience claim\. Please acquire a new token for the resource "https:\/\/ossrdbms-aad\.database\.windows\.net"\.$/,
    ],
    [{ exp: 1 }, /^The access token has expired\. Please acquire a new token and retry\.$/],
    [{ oid: undefined }, /^The access token doesn't have a valid oid claim\./],
    [{ tid: OTHER_TENANT }, /^An error occurred while validating the access token\./],
  ])("gets Azure's error for the claims %j", async (claims, message) => {
    const { told } = await setting.refusal(await setting.token(claims))
    expect(told).toMatchObject({
      severity: 'FATAL',
      sqlState: '28000',
      message: expect.stringMatching(message),
    })
  })

  it('gets an error without details of the token if the role is wrong', async () => {
    const { told } = await setting.refusal(await setting.token(), { role: 'admin' })
    expect(told).toMatchObject({
      sqlState: '28P01',
      message: 'password authentication failed for user "admin"',
    })
  })

  it('does not see its token in the error, and the log contains only its claims', async () => {
    for (const claims of [
      { aud: 'x' },
      { exp: 1 },
      { oid: OTHER_OBJECT_ID },
      { iss: 'https://y' },
    ]) {
      const token = await setting.token(claims)
      const { explanation, told } = await setting.refusal(token)
      const shown = `${explanation} ${told?.message} ${told?.hint} ${told?.detail} ${told?.stack}`
      for (const part of token.split('.')) expect(shown).not.toContain(part)
    }
  })
})

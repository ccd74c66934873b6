import { createPublishedKeys, type KeySource } from '../../../gateway/auth/published-keys.js'
import { rejectionOf } from '../../core/support/caught.js'
import { type EntraIssuer, startEntraIssuer } from '../../support/issuers/entra-issuer.js'
import { createSigningKeys, type SigningKeys } from '../../support/issuers/signing-keys.js'
import { entraSetting } from './entra/entra-setting.js'

let keys: SigningKeys
let issuer: EntraIssuer
beforeAll(async () => {
  keys = await createSigningKeys()
})
beforeEach(async () => {
  issuer = await startEntraIssuer({ keys })
})
afterEach(() => issuer.close())

const keysUrl = (): string => `${issuer.url}/${issuer.tenantId}/discovery/v2.0/keys`
const issuerUrl = (): string => `${issuer.url}/${issuer.tenantId}/v2.0`
const keyRequests = (): number =>
  issuer.requests.filter((request) => request.endsWith('/discovery/v2.0/keys')).length

/** Verifies tokens with the keys of the issuer, as read from `source`. */
function reading(source: KeySource) {
  const setting = entraSetting(issuer.keys, source)
  return {
    reason: async (keyId?: string): Promise<string> =>
      setting.reason(await setting.token({}, keyId === undefined ? {} : { keyId })),
  }
}

describe.each<[string, (maxAgeMs: number) => KeySource]>([
  ['the keys from a URL', (maxAgeMs) => ({ url: keysUrl(), maxAgeMs })],
  ['the keys from the metadata of an issuer', (maxAgeMs) => ({ issuer: issuerUrl(), maxAgeMs })],
])('%s', (_what, source) => {
  it('are read once for many logins', async () => {
    const { reason } = reading(source(60_000))
    expect(issuer.requests).toEqual([])
    expect([await reason(), await reason(), await reason()]).toEqual(Array(3).fill('accepted'))
    expect(new Set(issuer.requests).size).toBe(issuer.requests.length)
    expect(keyRequests()).toBe(1)
  })

  it('are read for each login if they are not cached', async () => {
    const { reason } = reading(source(0))
    expect([await reason(), await reason()]).toEqual(['accepted', 'accepted'])
    expect(keyRequests()).toBe(2)
  })

  it('are not accepted after they were revoked', async () => {
    const { reason } = reading(source(0))
    const old = issuer.keys.current()
    await issuer.keys.rotate()
    expect([await reason(old), await reason()]).toEqual(['accepted', 'accepted'])
    issuer.keys.revoke(old)
    expect([await reason(old), await reason()]).toEqual(['key-revoked', 'accepted'])
  })

  it('that cannot be read cause refusals, and are read again', async () => {
    const { reason } = reading(source(60_000))
    for (const answer of [
      { status: 503, body: 'later' },
      { body: 'no JSON' },
      { body: { keys: 'none' } },
      { status: 302, headers: { location: keysUrl() }, body: '' },
    ]) {
      issuer.intercept(() => answer)
      expect(await reason()).toBe('verifier-failed')
    }
    issuer.intercept(() => undefined)
    expect(await reason()).toBe('accepted')
  })

  it('of an unreachable issuer cause refusals', async () => {
    const { reason } = reading(source(0))
    expect(await reason()).toBe('accepted')
    await issuer.close()
    expect(await reason()).toBe('verifier-failed')
  })
})

describe('the metadata of an issuer', () => {
  it('is rejected if it belongs to another issuer', async () => {
    const { reason } = reading({ issuer: issuerUrl(), maxAgeMs: 0 })
    issuer.intercept(({ path }) =>
      path.endsWith('/openid-configuration')
        ? { body: { issuer: 'https://other.example.com', jwks_uri: keysUrl() } }
        : undefined,
    )
    expect(await reason()).toBe('verifier-failed')
    expect(keyRequests()).toBe(0)
  })

  it('is rejected if the URL of the keys is not secure', async () => {
    const { port, pathname } = new URL(keysUrl())
    // The first of them would lead to the right keys.
    for (const url of [
      `http://0.0.0.0:${port}${pathname}`,
      'http://keys.example.com/',
      'keys',
      5,
    ]) {
      const { reason } = reading({ issuer: issuerUrl(), maxAgeMs: 0 })
      issuer.intercept(({ path }) =>
        path.endsWith('/openid-configuration')
          ? { body: { issuer: issuerUrl(), jwks_uri: url } }
          : undefined,
      )
      expect(await reason()).toBe('verifier-failed')
    }
    expect(keyRequests()).toBe(0)
  })
})

describe('keys from a function', () => {
  it('are requested for each login', async () => {
    let asked = 0
    const read = () => {
      asked++
      return issuer.keys.published()
    }
    const { reason } = reading({ read: async () => Promise.resolve(read()) })
    expect([await reason(), await reason()]).toEqual(['accepted', 'accepted'])
    expect(asked).toBe(2)
  })

  it('are used as they are at each login, even if the same set is modified', async () => {
    const set = issuer.keys.published()
    const { reason } = reading({ read: () => set })
    const [first] = set.keys
    expect(await reason()).toBe('accepted')
    set.keys.length = 0
    expect(await reason()).toBe('key-revoked')
    set.keys.push(first!)
    expect(await reason()).toBe('accepted')
    // Another key with the same ID.
    const other = await createSigningKeys()
    set.keys[0] = { ...other.published().keys[0]!, kid: first!.kid! }
    expect(await reason()).toBe('signature-wrong')
  })

  it('cause refusals if the function fails', async () => {
    const { reason } = reading({ read: () => Promise.reject(new Error('vault is sealed')) })
    expect(await reason()).toBe('verifier-failed')
  })

  it('count as published only after they were returned', async () => {
    const published = createPublishedKeys({ read: keys.published })
    const id = issuer.keys.current()
    expect(published.wasPublished(id)).toBe(false)
    await rejectionOf(
      published.find({ alg: 'RS256', kid: 'other' }, {} as never) as Promise<unknown>,
    )
    expect([published.wasPublished(id), published.wasPublished('other')]).toEqual([true, false])
  })
})

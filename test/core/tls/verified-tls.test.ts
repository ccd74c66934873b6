import { tlsOptions, unverified, verifiedTls, weakens } from '../../../core/tls/verified-tls.js'
import { createAuthority } from '../support/certificates.js'

describe('tlsOptions', () => {
  it('keeps what it knows', async () => {
    const { ca } = await createAuthority()
    const given = {
      ca,
      servername: 'DB.example.com.',
      negotiation: 'direct',
      rejectUnauthorized: true,
    }
    expect(tlsOptions(given, 'tls')).toEqual({
      ca,
      servername: 'db.example.com',
      negotiation: 'direct',
    })
    expect(tlsOptions({}, 'tls')).toEqual({})
  })

  it.each([
    ['key', '"tls.key" is not a known option'],
    ['minVersion', '"tls.minVersion" is not a known option'],
    ['serverName', '"tls.serverName" is not a known option'],
  ])('refuses %s', (name, message) => {
    expect(() => tlsOptions({ [name]: 'x' }, 'tls')).toThrow(message)
  })
})

describe('weakens', () => {
  it.each([
    false,
    'disable',
    'allow',
    'prefer',
    'require',
    'no-verify',
    { rejectUnauthorized: false },
    { rejectUnauthorized: null },
    { rejectUnauthorized: 0 },
    { rejectUnauthorized: '' },
    { rejectUnauthorized: 'true' },
    { rejectUnauthorized: 1 },
    { checkServerIdentity: () => undefined },
    { checkServerIdentity: null },
    { rejectUnauthorized: true, checkServerIdentity: () => undefined },
  ])('is true for %p', (value) => {
    expect(weakens(value)).toBe(true)
  })

  it.each([
    undefined,
    null,
    true,
    'verify-full',
    {},
    { rejectUnauthorized: true },
    { rejectUnauthorized: undefined, checkServerIdentity: undefined },
    { ca: 'x' },
  ])('is false for %p', (value) => {
    expect(weakens(value)).toBe(false)
  })

  it('sees what an object inherits', () => {
    expect(weakens(Object.create({ rejectUnauthorized: false }))).toBe(true)
  })
})

describe('unverified', () => {
  it('says what to do instead', () => {
    expect(unverified('ssl')).toMatchObject({
      code: 'ERR_TLS_UNVERIFIED',
      message: '"ssl" must not turn TLS or its verification off',
      hint: expect.stringContaining('tls: { ca }'),
      retryable: false,
    })
  })
})

describe('verifiedTls', () => {
  it('is verified, for the host unless another name was given, and frozen', () => {
    const tls = verifiedTls('db.example.com', {})
    expect(tls).toEqual({
      rejectUnauthorized: true,
      servername: 'db.example.com',
      minVersion: 'TLSv1.2',
    })
    expect(Object.isFrozen(tls)).toBe(true)
    expect(
      verifiedTls('db.example.com', { servername: 'x', ca: 'pem', negotiation: 'direct' }),
    ).toEqual({
      rejectUnauthorized: true,
      servername: 'x',
      minVersion: 'TLSv1.2',
      ca: 'pem',
    })
  })
})

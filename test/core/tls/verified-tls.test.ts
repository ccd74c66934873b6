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
    ['minVersion', '"tls.minVersion" must be "TLSv1.2" or "TLSv1.3", got "x"'],
    ['maxVersion', '"tls.maxVersion" must be "TLSv1.2" or "TLSv1.3", got "x"'],
    ['serverName', '"tls.serverName" is not a known option'],
  ])('refuses %s', (name, message) => {
    expect(() => tlsOptions({ [name]: 'x' }, 'tls')).toThrow(message)
  })
})

describe('the versions of TLS', () => {
  it('are never older than a token may be sent over, also for whoever takes older ones', () => {
    for (const minVersion of ['TLSv1', 'TLSv1.1', 'TLSv1.2'])
      expect(tlsOptions({ minVersion }, 'tls')).toEqual({ minVersion: 'TLSv1.2' })
    expect(() => tlsOptions({ maxVersion: 'TLSv1.1' }, 'tls')).toThrow('"tls.maxVersion" must be')
  })

  it('must leave one to speak', () => {
    expect(() => tlsOptions({ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' }, 'tls')).toThrow(
      '"tls.minVersion" must not be newer than "tls.maxVersion"',
    )
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

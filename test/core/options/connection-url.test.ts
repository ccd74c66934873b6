import * as fc from 'fast-check'
import { isPgIamError } from '../../../core/index.js'
import { connectionUrlOptions } from '../../../core/options/connection-url.js'
import { thrownBy } from '../support/caught.js'
import { printed } from '../support/printed.js'

describe('connectionUrlOptions', () => {
  it.each([
    ['postgres://h', { host: 'h' }],
    ['postgresql://h', { host: 'h' }],
    ['postgres://app@h:5433/shop', { host: 'h', port: '5433', user: 'app', database: 'shop' }],
    ['postgres://h/', { host: 'h' }],
    ['postgres:///shop?user=app', { user: 'app', database: 'shop' }],
    ['postgres://o%27brien%40x@h/a%2Fb%20c', { host: 'h', user: "o'brien@x", database: 'a/b c' }],
    ['postgres://[::1]:5432/shop', { host: '::1', port: '5432', database: 'shop' }],
    ['postgres://app:@h', { host: 'h', user: 'app' }],
    ['postgres://h?region=eu-west-1', { host: 'h', region: 'eu-west-1' }],
    ['postgres://h?sslmode=require', { host: 'h' }],
    ['postgres://h?sslmode=verify-ca', { host: 'h' }],
    ['postgres://h?sslmode=verify-full&ssl=true', { host: 'h' }],
    ['postgres://h?sslrootcert=/etc/ca.pem', { host: 'h', tls: { ca: '/etc/ca.pem' } }],
    ['postgres://h?sslrootcert=system', { host: 'h' }],
    ['postgres://h?sslnegotiation=direct', { host: 'h', tls: { negotiation: 'direct' } }],
    [
      'postgres://h?sslnegotiation=direct&sslrootcert=/ca.pem',
      { host: 'h', tls: { ca: '/ca.pem', negotiation: 'direct' } },
    ],
  ])('reads %s', (url, options) => {
    expect(connectionUrlOptions(url)).toEqual(options)
    expect(connectionUrlOptions(new URL(url))).toEqual(options)
  })

  it.each([
    'postgres://app:SECRET@h/db',
    'postgres://app:SEC%20RET@h/db',
    'postgres://app:SEC@RET@h/db',
    'postgres://:SECRET@h/db',
    'postgres://app@h/db?password=SECRET',
    'postgres://app@h/db?password=',
  ])('refuses the password in %s', (url) => {
    const error = thrownBy(() => connectionUrlOptions(url))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: 'the URL must not hold a password: the login makes a token for each connection',
    })
    expect(printed(error)).not.toMatch(/SEC|RET/)
  })

  it.each([
    ['sslmode', 'disable'],
    ['sslmode', 'allow'],
    ['sslmode', 'prefer'],
    ['sslmode', 'no-verify'],
    ['sslmode', 'REQUIRE'],
    ['sslmode', ''],
    ['ssl', 'false'],
    ['ssl', '0'],
    ['ssl', 'no-verify'],
    ['ssl', 'prefer'],
    ['ssl', ''],
  ])('refuses %s=%s', (name, value) => {
    expect(() => connectionUrlOptions(`postgres://h?${name}=${value}`)).toThrow(
      expect.objectContaining({
        code: 'ERR_TLS_UNVERIFIED',
        message: `"${name}" must not turn TLS or its verification off`,
      }),
    )
  })

  it('refuses a weak mode also behind a strong one', () => {
    expect(() => connectionUrlOptions('postgres://h?sslmode=verify-full&sslmode=disable')).toThrow(
      expect.objectContaining({ code: 'ERR_TLS_UNVERIFIED' }),
    )
  })

  it.each([
    ['sslmod=require', '"sslmod" is not a known option', 'Did you mean "sslmode"?'],
    [
      'host=/tmp',
      '"host" is not a known option',
      expect.stringMatching(/^Known are: region, sslmode/),
    ],
    ['uselibpqcompat=true', '"uselibpqcompat" is not a known option', expect.any(String)],
  ])('refuses the unknown parameter in ?%s', (query, message, hint) => {
    expect(thrownBy(() => connectionUrlOptions(`postgres://h?${query}`))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message,
      hint,
    })
  })

  it.each([
    '',
    'h',
    'mysql://h',
    'POSTGRES//h',
    ' postgres://SECRET@h',
    'postgres://app:SECRET@h:port',
    'postgres://SECRET@h:99999',
    'postgres://app:SEC#RET@h',
    null,
    undefined,
    5,
    { href: 'postgres://h' },
    new URL('https://app:SECRET@h'),
  ])('refuses %p without showing it', (url) => {
    const error = thrownBy(() => connectionUrlOptions(url))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: '"url" must be a URL such as postgres://user@host:5432/database',
      hint: 'Percent-encode special characters in it.',
    })
    expect(printed(error)).not.toMatch(/SEC|RET/)
  })

  it.each([
    ['postgres://%zz@h', 'user'],
    ['postgres://h/%ff', 'database'],
  ])('refuses broken percent-encoding in %s', (url, part) => {
    expect(() => connectionUrlOptions(url)).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: `"url" must have a percent-encoded ${part}`,
      }),
    )
  })

  it('refuses what comes behind a "#", which would silently be left out', () => {
    expect(() => connectionUrlOptions('postgres://app@h/db#x')).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })

  it.each(['.', '..', '%2e', 'a%2Fb'])('takes the database %s for a name', (encoded) => {
    expect(connectionUrlOptions(`postgres://app@db.example/${encoded}?ssl=true`)).toMatchObject({
      database: decodeURIComponent(encoded),
    })
  })

  it('reads back any user, database and host that were encoded', () => {
    const name = fc.string({ minLength: 1, unit: 'grapheme' })
    fc.assert(
      fc.property(
        name,
        name,
        fc.domain(),
        fc.integer({ min: 1, max: 65_535 }),
        (user, database, host, port) => {
          const url = `postgres://${encodeURIComponent(user)}@${host}:${port}/${encodeURIComponent(database)}`
          expect(connectionUrlOptions(url)).toEqual({ user, database, host, port: String(port) })
        },
      ),
    )
  })

  it('never throws anything but its own errors, and never shows the URL', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.webUrl(), fc.string()),
        fc.string({ unit: 'binary' }),
        (start, end) => {
          const url = `${start.replace(/^https?/, 'postgres')}CANARY${end}`
          try {
            connectionUrlOptions(url)
          } catch (error) {
            expect(isPgIamError(error)).toBe(true)
            if (!(error as Error).message.includes('is not a known option')) {
              expect(printed(error)).not.toContain('CANARY')
            }
          }
        },
      ),
    )
  })
})

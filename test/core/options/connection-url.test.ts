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
    [
      'postgres://h?sslnegotiation=&ssl_min_protocol_version=',
      { host: 'h', tls: { negotiation: '' } },
    ],
    [
      'postgres://h?ssl_min_protocol_version=TLSv1&ssl_max_protocol_version=TLSv1.3',
      { host: 'h', tls: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' } },
    ],
    [
      'postgres://h?application_name=web&options=-c%20x%3Dy&TimeZone=UTC&app.tenant=7',
      {
        host: 'h',
        startupParameters: {
          application_name: 'web',
          options: '-c x=y',
          timezone: 'UTC',
          'app.tenant': '7',
        },
      },
    ],
    ['postgres://h?application_name=&statement_timeout=', { host: 'h' }],
    ['postgres://h?schema=a%22b', { host: 'h', startupParameters: { search_path: '"a""b"' } }],
    [
      'postgres://h?client_encoding=utf-8',
      { host: 'h', startupParameters: { client_encoding: 'UTF8' } },
    ],
    ['postgres://h?fallback_application_name=psql', { host: 'h', fallbackApplicationName: 'psql' }],
    ['postgres://h?connect_timeout=10', { host: 'h', connectTimeoutMs: 10_000 }],
    ['postgres://h?connect_timeout=1', { host: 'h', connectTimeoutMs: 2_000 }],
    ['postgres://h?connect_timeout=0', { host: 'h', connectTimeoutMs: 600_000 }],
    ['postgres://h?connect_timeout=-1', { host: 'h', connectTimeoutMs: 600_000 }],
    ['postgres://h?connect_timeout=3600', { host: 'h', connectTimeoutMs: 600_000 }],
    ['postgres://h?keepalives=1', { host: 'h', keepAlive: true }],
    ['postgres://h?keepalives=0&keepalives_idle=30', { host: 'h', keepAlive: false }],
    ['postgres://h?keepalives_idle=30&keepalives_count=0', { host: 'h', keepAlive: 30 }],
    ['postgres://h?hostaddr=10.0.0.3', { host: 'h', connectTo: { host: '10.0.0.3' } }],
    [
      'postgres://h?channel_binding=prefer&gssencmode=disable&target_session_attrs=any',
      {
        host: 'h',
        settled: ['PGCHANNELBINDING', 'PGGSSENCMODE', 'PGTARGETSESSIONATTRS'],
      },
    ],
    [
      'postgres://h?krbsrvname=postgres&requirepeer=postgres&sslcompression=0&uselibpqcompat=true&replication=false&pgbouncer=false&sslaccept=strict',
      { host: 'h' },
    ],
    ['postgres://app@a,b/shop', { host: ['a', 'b'], user: 'app', database: 'shop' }],
    ['postgres://a:5433,b:5433', { host: ['a', 'b'], port: '5433' }],
    [
      'postgres://app@[::1]:5433,[fe80::1]:5433,c:5433',
      { host: ['::1', 'fe80::1', 'c'], port: '5433', user: 'app' },
    ],
    [
      'postgres:///x?host=a,b&port=5433,5433&user=app&dbname=shop',
      { host: ['a', 'b'], port: '5433', user: 'app', database: 'shop' },
    ],
  ])('parses %s', (url, options) => {
    expect(connectionUrlOptions(url)).toEqual(options)
    // A `URL` supports only one host.
    if (URL.canParse(url)) expect(connectionUrlOptions(new URL(url))).toEqual(options)
  })

  it.each([
    'postgres://app:SECRET@h/db',
    'postgres://app:SEC%20RET@h/db',
    'postgres://app:SEC@RET@h/db',
    'postgres://:SECRET@h/db',
    'postgres://app@h/db?password=SECRET',
    'postgres://app@h/db?password=',
    'postgres://app@h/db?pass=SECRET',
    'postgres://app:SECRET@a,b/db',
  ])('rejects the password in %s', (url) => {
    const error = thrownBy(() => connectionUrlOptions(url))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: 'the URL must not contain a password: the login makes a token for each connection',
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
  ])('rejects %s=%s', (name, value) => {
    expect(() => connectionUrlOptions(`postgres://h?${name}=${value}`)).toThrow(
      expect.objectContaining({
        code: 'ERR_TLS_UNVERIFIED',
        message: `"${name}" must not turn TLS or its verification off`,
      }),
    )
  })

  it.each([
    ['channel_binding=require', /^Remove it: a token is sent as a password/],
    ['gssencmode=require', /^Remove it/],
    ['target_session_attrs=read-write', /^Remove it, and use the endpoint/],
    ['target_session_attrs=prefer-standby', /^Remove it, and use the endpoint/],
    ['load_balance_hosts=random', /^Remove it/],
    ['require_auth=scram-sha-256', /^Remove it/],
    ['sslsni=0', /^Remove it/],
    ['sslcertmode=require', /sends no client certificate/],
    ['min_protocol_version=3.2', /^Remove it/],
    ['client_encoding=latin1', /sends UTF-8/],
    ['replication=database', /^Pass replication: "database"/],
    ['keepalives=yes', /^Give "0"/],
    ['keepalives_count=3', /^Remove it: Node cannot set it/],
    ['keepalives_interval=3', /^Remove it: Node cannot set it/],
    ['tcp_user_timeout=3', /^Remove it: Node cannot set it/],
    ['sslcert=/c.pem', /sends no client certificate/],
    ['sslkey=/k.pem', /sends no client certificate/],
    ['sslcrl=/c.pem', /no revocation lists/],
    ['service=prod', /pg_service\.conf/],
    ['passfile=/p', /makes a token/],
    ['pgbouncer=true', /prepare: false/],
    ['connection_limit=5', /^Set it in the client's options, not in the URL: max/],
    ['pool_timeout=5', /^Set it in the client's options/],
    ['max=5', /^Set it in the client's options, not in the URL: max/],
    ['idle_timeout=5', /^Set it in the client's options, not in the URL: idle_timeout/],
    ['max_lifetime=60', /maxLifetimeSecs/],
    ['query_timeout=60', /^Set it in the client's options, not in the URL: query_timeout/],
    ['ssl_max_protocol_version=TLSv1.1', undefined],
    ['connect_timeout=soon', undefined],
    ['keepalives_idle=soon', undefined],
    ['application_name=web%00user%00admin', undefined],
    ['options=-c%20a%3Db%00user%00admin', undefined],
    ['search_path=a%00user%00admin', undefined],
    ['fallback_application_name=web%00user%00admin', undefined],
  ])('rejects ?%s with an error that names it and a hint', (query, hint) => {
    const [name = ''] = query.split('=')
    const error = thrownBy(() => connectionUrlOptions(`postgres://h?${query}`))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringMatching(new RegExp(`^"${name}" must `)),
    })
    if (hint !== undefined) expect((error as { hint?: string }).hint).toMatch(hint)
  })

  it('rejects parameters that accept invalid certificates', () => {
    expect(() => connectionUrlOptions('postgres://h?sslaccept=accept_invalid_certs')).toThrow(
      expect.objectContaining({ code: 'ERR_TLS_UNVERIFIED' }),
    )
  })

  it.each(['postgres://a:5432,b:5433', 'postgres://a,b:5433', 'postgres:///x?port=5432,5433'])(
    'rejects the different ports of %s',
    (url) => {
      expect(thrownBy(() => connectionUrlOptions(url))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"port" must be the same for all 2 hosts/),
      })
    },
  )

  it('rejects a weak sslmode even if a strong one precedes it', () => {
    expect(() => connectionUrlOptions('postgres://h?sslmode=verify-full&sslmode=disable')).toThrow(
      expect.objectContaining({ code: 'ERR_TLS_UNVERIFIED' }),
    )
  })

  it.each([
    ['sslmod=require', '"sslmod" is not a known option', 'Did you mean "sslmode"?'],
    ['ApplicationName=x', '"ApplicationName" is not a known option', expect.any(String)],
    [
      'qqqqqqqqqqqq=1',
      '"qqqqqqqqqqqq" is not a known option',
      expect.stringMatching(/^Known options: region, host/),
    ],
  ])('rejects the unknown parameter in ?%s', (query, message, hint) => {
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
    'postgres://SECRET@a,,b',
    'postgres://SECRET@a:1,b:port',
    null,
    undefined,
    5,
    { href: 'postgres://h' },
    new URL('https://app:SECRET@h'),
  ])('rejects %p without showing it', (url) => {
    const error = thrownBy(() => connectionUrlOptions(url))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringMatching(
        /^"url" must be a URL such as postgres:\/\/user@host:5432\/database, got (an? |a URL of the scheme "(mysql|https)"|null|undefined)/,
      ),
      hint: expect.stringMatching(/\.$|\?$/),
    })
    expect(printed(error)).not.toMatch(/SEC|RET/)
  })

  it.each([
    ['postgres://%zz@h', 'user'],
    ['postgres://h/%ff', 'database'],
  ])('rejects invalid percent-encoding in %s', (url, part) => {
    expect(() => connectionUrlOptions(url)).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: `"url" must have a percent-encoded ${part}`,
      }),
    )
  })

  it('rejects a fragment, which would otherwise be dropped silently', () => {
    expect(() => connectionUrlOptions('postgres://app@h/db#x')).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })

  it.each(['.', '..', '%2e', 'a%2Fb'])('accepts %s as a database name', (encoded) => {
    expect(connectionUrlOptions(`postgres://app@db.example/${encoded}?ssl=true`)).toMatchObject({
      database: decodeURIComponent(encoded),
    })
  })

  it('parses any encoded user, database and host back to the original', () => {
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

  it('throws only PgIamErrors, which never show the URL', () => {
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

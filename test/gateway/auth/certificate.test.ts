import type { ConnectionOptions } from 'node:tls'
import { Client } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { errorFields, openTls, startup } from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { type ClientAuthority, createClientAuthority } from './client-certificates.js'

const server = usePostgres()
const log = recordLog()
const HOST = 'certificates.example.com'
const OTHER_HOST = 'others.example.com'
const TOKEN_HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'

let authority: ClientAuthority
let otherAuthority: ClientAuthority
let gateway: Gateway
beforeAll(async () => {
  ;[authority, otherAuthority] = await Promise.all([
    createClientAuthority('One'),
    createClientAuthority('Two'),
  ])
  gateway = await server.start({
    logger: log.logger,
    endpoints: [
      { provider: 'certificate', hosts: [HOST], ca: authority.ca },
      { provider: 'certificate', hosts: [OTHER_HOST], ca: otherAuthority.ca },
      { provider: 'aurora-dsql', hosts: [TOKEN_HOST] },
    ],
  })
})

async function logIn(ssl: ConnectionOptions, user = 'app', own = gateway): Promise<unknown> {
  const client = new Client({
    host: own.host,
    port: own.port,
    user,
    database: 'postgres',
    ssl: { ca: own.ca, servername: HOST, ...ssl },
  })
  await client.connect()
  const { rows } = await client.query('select current_user as me')
  await client.end()
  return rows[0].me as unknown
}

describe('a certificate endpoint', () => {
  it('accepts a client whose common name is the role', async () => {
    expect(await logIn(await authority.issue('CN=app'))).toBe('app')
    expect(await logIn(await authority.issue('O=Example, CN=admin'), 'admin')).toBe('admin')
    const { details } = await log.line('gateway: accepted a login')
    expect(details).toMatchObject({ provider: 'certificate', identity: 'app' })
  })

  it('verifies certificates with its own authority only', async () => {
    const certificate = await otherAuthority.issue('CN=app')
    expect(await logIn({ ...certificate, servername: OTHER_HOST })).toBe('app')
    await expect(logIn(certificate)).rejects.toMatchObject({ code: '28000' })
    await log.refusal('certificate-untrusted')
  })

  it('does not accept a TLS session that was resumed from another endpoint', async () => {
    const certificate = await otherAuthority.issue('CN=app')
    const sessions: Buffer[] = []
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const trusted = { ...certificate, servername: OTHER_HOST, maxVersion }
      const first = await openTls(gateway, trusted)
      first.socket.on('session', (session: Buffer) => sessions.push(session))
      first.send(startup({ user: 'app', database: 'postgres' }))
      await first.next('Z')
      first.socket.end()
      await first.ended()
    }
    for (const session of sessions) {
      const second = await openTls(gateway, { session, servername: HOST })
      second.send(startup({ user: 'app', database: 'postgres' }))
      expect(errorFields(await second.next('E'))).toMatchObject({ C: '28000' })
      await second.ended()
    }
  })

  it.each<[reason: string, what: string, ssl: () => Promise<ConnectionOptions>, message: string]>([
    [
      'certificate-missing',
      'no certificate',
      async () => ({}),
      'connection requires a valid client certificate',
    ],
    [
      'certificate-untrusted',
      'a certificate of another authority',
      async () => (await createClientAuthority('One')).issue('CN=app'),
      'connection requires a valid client certificate',
    ],
    [
      'certificate-expired',
      'an expired certificate',
      () => authority.issue('CN=app', -1),
      'connection requires a valid client certificate',
    ],
    [
      'certificate-wrong',
      'the certificate of another role',
      () => authority.issue('CN=admin'),
      'certificate authentication failed for user "app"',
    ],
    [
      'certificate-wrong',
      'a common name in another case',
      () => authority.issue('CN=App'),
      'certificate authentication failed for user "app"',
    ],
    [
      'certificate-wrong',
      'a certificate without a common name',
      () => authority.issue('O=app'),
      'certificate authentication failed for user "app"',
    ],
    [
      'certificate-wrong',
      'the role as its second common name',
      () => authority.issue('CN=admin, CN=app'),
      'certificate authentication failed for user "app"',
    ],
  ])('refuses (%s) a client with %s', async (reason, _what, ssl, message) => {
    await expect(logIn(await ssl())).rejects.toMatchObject({
      severity: 'FATAL',
      code: '28000',
      message,
    })
    expect((await log.refusal(reason)).details).toMatchObject({ role: 'app', servername: HOST })
  })

  it('requires no certificate for another endpoint on the same listener that uses tokens', async () => {
    const login = gateway.login({ host: TOKEN_HOST })
    const password = await login.password()
    const client = new Client({
      host: gateway.host,
      port: gateway.port,
      user: 'app',
      database: 'postgres',
      password,
      ssl: { ca: gateway.ca, servername: TOKEN_HOST },
    })
    await client.connect()
    await client.end()
  })

  it('accepts every server name on a separate listener', async () => {
    const own = await server.start({
      endpoints: [{ provider: 'certificate', hosts: [HOST], ca: authority.ca }],
    })
    const certificate = await authority.issue('CN=app')
    expect(await logIn({ ...certificate, servername: 'localhost' }, 'app', own)).toBe('app')
    const nameless = await openTls(own, { ...certificate, servername: '', host: own.host })
    nameless.send(startup({ user: 'app', database: 'postgres' }))
    await nameless.next('Z')
    nameless.socket.destroy()
  })

  it('has no pg-iam login, because it uses no tokens', () => {
    expect(() => gateway.login({ host: HOST })).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringContaining(HOST) as string,
      }),
    )
  })
})

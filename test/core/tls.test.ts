import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { createLogin, internalsOf } from '../../core/login.js'
import { auroraDsql, customLogin, entra, type Login, rds, redshift } from '../../core/index.js'
import { AMAZON_ROOTS } from '../../core/providers/aws/amazon-roots.js'
import { commonSettings } from '../../core/options/common-options.js'
import { AZURE_ROOTS } from '../../core/providers/entra/azure-roots.js'
import { secureContext } from '../../core/connection/log-in.js'
import {
  cloudAuthorities,
  tlsOptions,
  trustedAuthorities,
  unverified,
  verifiedTls,
  weakens,
} from '../../core/tls.js'
import { createToken } from '../../core/tokens/token.js'
import { AUTHENTICATION_OK, GREETING } from './support/backend-messages.js'
import { createAuthority, type KeyPair } from './support/certificates.js'
import { CREDENTIALS } from './support/dsql-options.js'
import { receiveLogin, type StandIn, startStandIn } from './support/postgres-stand-in.js'
import { startRawClient } from './support/raw-client.js'
import { runNode } from './support/run-node.js'

describe('tlsOptions', () => {
  it('keeps the known options', async () => {
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
  ])('rejects %s', (name, message) => {
    expect(() => tlsOptions({ [name]: 'x' }, 'tls')).toThrow(message)
  })
})

describe('the versions of TLS', () => {
  it('are at least TLSv1.2, even if an older minimum is given', () => {
    for (const minVersion of ['TLSv1', 'TLSv1.1', 'TLSv1.2'])
      expect(tlsOptions({ minVersion }, 'tls')).toEqual({ minVersion: 'TLSv1.2' })
    expect(() => tlsOptions({ maxVersion: 'TLSv1.1' }, 'tls')).toThrow('"tls.maxVersion" must be')
  })

  it('must not be an empty range', () => {
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

  it('reads inherited properties', () => {
    expect(weakens(Object.create({ rejectUnauthorized: false }))).toBe(true)
  })
})

describe('unverified', () => {
  it('has a hint with the alternative', () => {
    expect(unverified('ssl')).toMatchObject({
      code: 'ERR_TLS_UNVERIFIED',
      message: '"ssl" must not turn TLS or its verification off',
      hint: expect.stringContaining('tls: { ca }'),
      retryable: false,
    })
  })
})

describe('verifiedTls', () => {
  it('is verified for the host, or the given name, and frozen', () => {
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

const contextFor = (ca?: string) =>
  secureContext(verifiedTls('db.example.com', ca === undefined ? {} : { ca }))

describe('the TLS context', () => {
  it('is cached by CA, independently of the server name', async () => {
    const { ca } = await createAuthority()
    const context = contextFor(ca)
    expect(contextFor(Buffer.from(ca).toString())).toBe(context)
    expect(secureContext(verifiedTls('other.example.com', { ca }))).toBe(context)
    expect(contextFor((await createAuthority()).ca)).not.toBe(context)
    expect(contextFor()).not.toBe(context)
  })

  it('is cached for a limited number of CAs', async () => {
    const authorities = await Promise.all(Array.from({ length: 17 }, () => createAuthority()))
    const [first, ...others] = authorities.map(({ ca }) => ca) as [string, ...string[]]
    const [oldest, second] = [contextFor(first), contextFor(others[0])]
    for (const ca of others) contextFor(ca)
    expect(contextFor(others[0])).toBe(second)
    expect(contextFor(first)).not.toBe(oldest)
  })
})

// The CAs that are trusted by default: those of Node and those that the cloud documents.

const YEAR_MS = 365 * 86_400_000

const nameOf = (pem: string): string => /CN=(.*)/.exec(new X509Certificate(pem).subject)?.[1] ?? ''

const AWS = { credentials: CREDENTIALS } as const
const DSQL_HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
const PROXY_HOST = 'shop.proxy-c1a2b3c4d5e6.us-east-1.rds.amazonaws.com'
const REDSHIFT_HOST = 'shop.c1a2b3c4d5e6.eu-west-1.redshift.amazonaws.com'
const azureToken = async () =>
  Promise.resolve({ token: 'CANARY', expiresOnTimestamp: Date.now() + 3_600_000 })
const azure = { user: 'app', credentials: { getToken: azureToken } }

/** The documented names by certificate: see `amazon-roots.ts` and `azure-roots.ts`. */
const NAMED = {
  amazon: [
    'Amazon Root CA 1',
    'Amazon Root CA 2',
    'Amazon Root CA 3',
    'Amazon Root CA 4',
    'Starfield Services Root Certificate Authority - G2',
  ],
  azure: [
    'DigiCert Global Root G2',
    'Microsoft RSA Root Certificate Authority 2017',
    'DigiCert Global Root CA',
  ],
}

describe.each([
  ['Amazon', AMAZON_ROOTS, NAMED.amazon],
  ['Azure', AZURE_ROOTS, NAMED.azure],
])('the roots of %s', (_cloud, roots, names) => {
  it('are those of its documentation', () => {
    expect(roots.map(nameOf)).toEqual(names)
  })

  it.each(roots.map((pem) => [nameOf(pem), new X509Certificate(pem)] as const))(
    'contain %s, which is valid for two more years: otherwise check the documentation',
    (_name, certificate) => {
      expect(certificate.ca).toBe(true)
      expect(certificate.verify(certificate.publicKey)).toBe(true)
      expect(Date.parse(certificate.validFrom)).toBeLessThan(Date.now())
      expect(Date.parse(certificate.validTo)).toBeGreaterThan(Date.now() + 2 * YEAR_MS)
    },
  )

  it('are identical to the certificates of the same names that Node ships', () => {
    const shipped = new Map(rootCertificates.map((pem) => [nameOf(pem), pem.trim()]))
    for (const pem of roots) expect(shipped.get(nameOf(pem)) ?? pem).toBe(pem)
  })
})

describe('a login without tls.ca', () => {
  it.each<[string, Login, readonly string[]]>([
    ['Aurora DSQL', auroraDsql({ host: DSQL_HOST, user: 'app', ...AWS }), AMAZON_ROOTS],
    ['RDS Proxy', rds({ host: PROXY_HOST, user: 'app', ...AWS }), AMAZON_ROOTS],
    ['Redshift', redshift({ host: REDSHIFT_HOST, ...AWS }), AMAZON_ROOTS],
    [
      'Azure in China',
      entra({ host: 'shop.postgres.database.chinacloudapi.cn', ...azure }),
      AZURE_ROOTS,
    ],
    [
      'Azure for the US government',
      entra({ host: 'shop.postgres.database.usgovcloudapi.net', ...azure }),
      AZURE_ROOTS,
    ],
    ['Azure', entra({ host: 'shop.postgres.database.azure.com', ...azure }), AZURE_ROOTS],
  ])('to %s trusts the CAs of its cloud on this version of Node', async (_what, login, roots) => {
    const { loadAuthorities } = await internalsOf(login)!.endpoints.all[0]!.resolve()
    const trusted = (await loadAuthorities!()) ?? rootCertificates.join('\n')
    expect(roots.filter((pem) => !trusted.includes(pem)).map(nameOf)).toEqual([])
  })

  it('also trusts the CAs of Node', async () => {
    const [root] = rootCertificates
    expect(await cloudAuthorities(AZURE_ROOTS, {}, [])).toContain(root)
  })

  it("uses Node's default CAs if Node ships those of the cloud", async () => {
    const rearranged = AMAZON_ROOTS.map((pem) => `${pem.replaceAll('\n', '\r\n')}\r\n`)
    expect(await cloudAuthorities(AMAZON_ROOTS, {}, rearranged)).toBeUndefined()
    expect(await cloudAuthorities(AMAZON_ROOTS, {}, rearranged.slice(1))).toContain(AMAZON_ROOTS[0])
  })

  it('shares the PEM text of the CAs with all other logins', async () => {
    const first = await trustedAuthorities(AZURE_ROOTS, {})
    expect(Object.is(await trustedAuthorities(AZURE_ROOTS, {}), first)).toBe(true)
  })

  it('trusts the CAs of NODE_EXTRA_CA_CERTS', async () => {
    const { ca } = await createAuthority()
    const folder = mkdtempSync(join(tmpdir(), 'pg-iam-ca-'))
    writeFileSync(`${folder}/extra.pem`, ca)
    const env = { NODE_EXTRA_CA_CERTS: `${folder}/extra.pem` }
    expect(await trustedAuthorities(AZURE_ROOTS, env)).toContain(ca.trim())
    rmSync(folder, { recursive: true })
  })
})

describe('a server', () => {
  let server: StandIn | undefined
  afterEach(async () => {
    await server?.close()
    server = undefined
  })

  /** A server for `host` that accepts every login. */
  async function start(host: string): Promise<{ port: number; ca: string }> {
    const authority = await createAuthority()
    const keys = await authority.issue(host)
    server = await startStandIn(async (socket, pair) => {
      const { socket: secured } = await receiveLogin(socket, pair)
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    }, keys)
    return { port: server.port, ca: authority.ca }
  }

  it('with a CA that the cloud documents is trusted even if Node does not ship it', async () => {
    const { port, ca } = await start(DSQL_HOST)
    const { targets, ...common } = commonSettings(
      { host: [DSQL_HOST], connectTo: [{ host: '127.0.0.1', port }], user: 'app' },
      {},
      {
        port: 5432,
        database: 'shop',
        reuseTokenSecs: 0,
        hostHint: 'a host',
        provider: 'custom',
      },
    )
    const issueToken = async () =>
      Promise.resolve(createToken('CANARY', new Date(Date.now() + 3_600_000)))
    const login = createLogin({
      ...common,
      provider: 'custom',
      hosts: [{ ...targets[0], issueToken }],
      loadAuthorities: () => cloudAuthorities([ca], {}),
    })
    const client = startRawClient(login)
    expect(await client.receive(1)).not.toHaveLength(0)
    client.stream.destroy()
  })

  it.each<[string, string, string, (connectTo: { host: string; port: number }) => Login]>([
    [
      'Aurora DSQL',
      DSQL_HOST,
      "Amazon's (https://www.amazontrust.com/repository/)",
      (connectTo) => auroraDsql({ host: DSQL_HOST, user: 'app', ...AWS, connectTo }),
    ],
    [
      'RDS Proxy',
      PROXY_HOST,
      "Amazon's (https://www.amazontrust.com/repository/)",
      (connectTo) => rds({ host: PROXY_HOST, user: 'app', ...AWS, connectTo }),
    ],
    [
      'Azure',
      'shop.postgres.database.azure.com',
      'https://learn.microsoft.com/azure/postgresql/security/security-tls',
      (connectTo) => entra({ host: 'shop.postgres.database.azure.com', ...azure, connectTo }),
    ],
    [
      'a custom provider',
      'db.example.com',
      "tls: { ca: 'PATH' }",
      (connectTo) =>
        customLogin({
          host: 'db.example.com',
          user: 'app',
          getToken: async () => Promise.resolve('CANARY'),
          connectTo,
        }),
    ],
  ])(
    'of %s with an untrusted CA is not logged in to, and the error has a hint',
    async (_what, host, hint, login) => {
      const { port } = await start(host)
      const error = await startRawClient(login({ host: '127.0.0.1', port })).closed
      expect(error).toMatchObject({
        code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
        hint: expect.stringContaining(hint),
      })
    },
  )
})

describe('a process that has set its own default CAs', () => {
  it("trusts them in addition to the cloud's, if this version of Node exposes them", async () => {
    const { ca } = await createAuthority()
    const { result } = await runNode(`
      import * as tls from 'node:tls'
      import { createRequire } from 'node:module'
      tls.setDefaultCACertificates?.([...tls.rootCertificates, ${JSON.stringify(ca)}])
      const { rds } = createRequire(import.meta.url)('./dist/cjs/core/index.js')
      const internals = (login) => login[Object.getOwnPropertySymbols(login)[0]]
      const login = rds({ host: 'shop.c1a2b3c4d5e6.eu-central-1.rds.amazonaws.com', user: 'app' })
      const { loadAuthorities } = await internals(login).endpoints.all[0].resolve()
      const pem = await loadAuthorities()
      console.log(tls.setDefaultCACertificates === undefined || pem.includes(${JSON.stringify(ca.trim())}))
    `)
    expect(result).toBe(true)
  })
})

// The servers that a certificate is accepted for, on every version of Node, since their checks differ.

/** The error code of a login for `name` with the certificate, or `undefined` if it is accepted. */
async function refusal(
  name: string,
  make: (authority: Awaited<ReturnType<typeof createAuthority>>) => Promise<KeyPair>,
): Promise<string | undefined> {
  const authority = await createAuthority()
  const server = await startStandIn(
    async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    },
    await make(authority),
  )
  const login = customLogin({
    host: name,
    user: 'app',
    getToken: async () => Promise.resolve('CANARY'),
    connectTo: { host: '127.0.0.1', port: server.port },
    tls: { ca: authority.ca },
  })
  const client = startRawClient(login)
  try {
    const first = await Promise.race([client.receive(1), client.closed])
    return Buffer.isBuffer(first) ? undefined : (first as unknown as { code: string }).code
  } finally {
    client.stream.destroy()
    await server.close()
  }
}

describe('the certificate of a server', () => {
  it.each([
    ['db.example.com', ['db.example.com']],
    ['db.example.com', ['DB.EXAMPLE.COM']],
    ['db.example.com', ['*.example.com']],
    ['my_db.example.com', ['my_db.example.com']],
    ['xn--mnchen-3ya.example.com', ['xn--mnchen-3ya.example.com']],
    ['10.0.0.3', ['other.example.com', '10.0.0.3']],
    ['::1', ['::1']],
    ['fd00:0:0:0::3', ['fd00::3']],
  ])('is accepted for %s if it contains %j', async (name, names) => {
    expect(await refusal(name, (authority) => authority.issue(...names))).toBeUndefined()
  })

  it.each([
    ['db.example.com', ['db.example.org']],
    ['db.example.com', ['*.com']],
    ['a.db.example.com', ['*.example.com']],
    ['db.example.com', ['10.0.0.3']],
    ['10.0.0.3', ['10.0.0.4']],
    ['10.0.0.3', ['*.0.0.3']],
    ['::1', ['::2', 'localhost']],
  ])('is rejected for %s if it contains %j', async (name, names) => {
    expect(await refusal(name, (authority) => authority.issue(...names))).toBe(
      'ERR_TLS_CERT_ALTNAME_INVALID',
    )
  })

  it.each(['10.0.0.3', '::1', 'fd00::3'])(
    'is rejected for the address %s if only its common name matches',
    async (name) => {
      expect(await refusal(name, (authority) => authority.issueNamed(name))).toBe(
        'ERR_TLS_CERT_ALTNAME_INVALID',
      )
    },
  )
})

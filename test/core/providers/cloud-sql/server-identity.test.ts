import { createPool } from '../../../../adapters/pg.js'
import { cloudSql, type CloudSqlOptions } from '../../../../core/index.js'
import { createAuthority, type KeyPair } from '../../support/certificates.js'
import { acceptLogin, receiveLogin, startStandIn } from '../../support/postgres-stand-in.js'
import { rejectionOf } from '../../support/caught.js'
import { errorResponse } from '../../support/backend-messages.js'

const INSTANCE = 'shop:us-central1:orders'
const HOST = '1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql.goog'

const credentials: NonNullable<CloudSqlOptions['credentials']> = {
  credentials: { expiry_date: Date.now() + 3_600_000 },
  getAccessToken: async () => Promise.resolve({ token: 'CANARY' }),
}

/** Connects to a server with an instance's certificate. Returns the server name (SNI) that the client sent. */
async function connect(
  make: (authority: Awaited<ReturnType<typeof createAuthority>>) => Promise<KeyPair>,
  options: CloudSqlOptions,
): Promise<unknown> {
  const authority = await createAuthority()
  const asked: unknown[] = []
  const server = await startStandIn(
    async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      asked.push(secured.servername)
    },
    await make(authority),
  )
  const { port } = server
  const pool = createPool(
    cloudSql({
      user: 'app@shop.iam',
      credentials,
      connectTo: { host: '127.0.0.1', port },
      ...options,
      tls: { ca: authority.ca, ...options.tls },
    }),
  )
  try {
    const client = await pool.connect()
    client.release(true)
    return asked
  } finally {
    await pool.end()
    await server.close()
  }
}

describe('the certificate of a Cloud SQL instance', () => {
  it('is verified by its connection name, which is not sent as server name', async () => {
    const options = { host: '10.0.0.3', instance: INSTANCE }
    expect(await connect((ca) => ca.issueNamed('shop:orders'), options)).toEqual([false])
  })

  it('is verified by its connection name, whatever other names it has', async () => {
    const options = { host: '10.0.0.3', instance: INSTANCE }
    expect(await connect((ca) => ca.issueNamed('shop:orders', HOST), options)).toEqual([false])
    const ofDomain = { host: '10.0.0.3', instance: `example.com:${INSTANCE}` }
    expect(await connect((ca) => ca.issueNamed('example.com:shop:orders'), ofDomain)).toEqual([
      false,
    ])
  })

  it('is verified by its DNS name, also if the host is an IP address', async () => {
    expect(await connect((ca) => ca.issue(HOST), { host: HOST })).toEqual([HOST])
    const options = { host: '10.0.0.3', tls: { servername: HOST } }
    expect(await connect((ca) => ca.issue(HOST), options)).toEqual([HOST])
  })

  it.each<[string, string, CloudSqlOptions]>([
    ['another instance of the project', 'shop:customers', { host: '10.0.0.3', instance: INSTANCE }],
    ['the instance of another project', 'shoe:orders', { host: '10.0.0.3', instance: INSTANCE }],
    ['an instance that is known by its DNS name', 'shop:orders', { host: HOST }],
    [
      'a name that ends as the right one',
      'x:shop:orders',
      { host: '10.0.0.3', instance: INSTANCE },
    ],
    ['any instance', '*', { host: '10.0.0.3', instance: INSTANCE }],
    ['any instance of the project', 'shop:*', { host: '10.0.0.3', instance: INSTANCE }],
  ])('is rejected for %s', async (_what, commonName, options) => {
    const error = await rejectionOf(connect((ca) => ca.issueNamed(commonName), options))
    expect(error).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      hint: expect.stringContaining('instance: "PROJECT:REGION:INSTANCE"'),
    })
  })

  it("is rejected if it is another instance's, even with the DNS name of that one", async () => {
    const options = { host: '10.0.0.3', instance: INSTANCE }
    const attempt = connect((ca) => ca.issueNamed('shop:customers', HOST), options)
    expect(await rejectionOf(attempt)).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  })

  it('is rejected if it has expired, or is signed by an untrusted CA', async () => {
    const options = { host: '10.0.0.3', instance: INSTANCE }
    const ended = connect((ca) => ca.issueEnded('shop:orders'), options)
    expect(await rejectionOf(ended)).toMatchObject({ code: 'CERT_HAS_EXPIRED' })
    const other = await createAuthority('Test authority')
    const foreign = connect(() => other.issueNamed('shop:orders'), options)
    expect(await rejectionOf(foreign)).toMatchObject({
      code: expect.stringMatching(/^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)$/),
    })
  })

  it('is not signed by a CA that Node ships, so the hint explains how to get the CA', async () => {
    const other = await createAuthority('Other')
    const error = await rejectionOf(
      connect((ca) => ca.issue(HOST), { host: HOST, tls: { ca: other.ca } }),
    )
    expect(error).toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      hint: expect.stringContaining('gcloud sql ssl server-ca-certs list'),
    })
  })
})

describe('a login that a Cloud SQL instance rejects', () => {
  it.each([
    [
      '28000',
      'connection requires a valid client certificate',
      /^This instance requires client certificates, which only Google's connectors and Auth Proxy can get\./,
    ],
    [
      '28000',
      'Cloud SQL IAM service account authentication failed for user "app@shop.iam"',
      /^The token must belong to "app@shop\.iam" .* roles\/cloudsql\.instanceUser/,
    ],
    ['53300', 'sorry, too many clients already', undefined],
  ])('with %s %s has a hint', async (sqlState, message, hint) => {
    const server = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.end(errorResponse(sqlState, message))
    })
    const { host, connectTo, tls } = server.login()
    const pool = createPool(
      cloudSql({
        host: '10.0.0.3',
        connectTo: connectTo!,
        tls: { ca: tls.ca!, servername: host },
        user: 'app@shop.iam',
        credentials,
        // A server with too many connections is asked again until then.
        connectTimeoutMs: sqlState === '53300' ? 2_000 : 60_000,
      }),
    )
    const error = await rejectionOf(pool.query('SELECT 1'))
    await pool.end()
    await server.close()
    expect(error).toMatchObject({ code: sqlState, message })
    const told = (error as { hint?: string }).hint
    if (hint === undefined) expect(told).toBeUndefined()
    else expect(told).toMatch(hint)
  })
})

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ClientSecretCredential } from '@azure/identity'
import { entra, type EntraOptions } from '../../../../core/index.js'
import { AUDIENCE, TENANT, userAssignedIdentity } from '../../../support/issuers/entra-claims.js'
import { startEntraIssuer, type EntraIssuer } from '../../../support/issuers/entra-issuer.js'
import {
  startManagedIdentity,
  type ManagedIdentity,
} from '../../../support/issuers/managed-identity.js'
import { rejectionOf } from '../../support/caught.js'
import { printed } from '../../support/printed.js'

const HOST = 'shop.postgres.database.azure.com'
const CLIENT_ID = '6c2f0f63-5d0b-4f5e-9a39-33f6f4cbb0aa'
const SECRET = 'CANARY-secret'
const surroundings = process.env

let issuer: EntraIssuer
beforeAll(async () => {
  issuer = await startEntraIssuer()
  issuer.addApplication({ clientId: CLIENT_ID, secret: SECRET })
})
afterAll(() => issuer?.close())
beforeEach(() => {
  process.env = { AZURE_TOKEN_CREDENTIALS: 'prod' }
})
afterEach(() => {
  process.env = surroundings
  issuer.intercept(() => undefined)
})

const application = (secret = SECRET): ClientSecretCredential =>
  new ClientSecretCredential(TENANT, CLIENT_ID, secret, {
    authorityHost: issuer.authorityHost,
    disableInstanceDiscovery: true,
    tlsOptions: { ca: issuer.ca },
    retryOptions: { maxRetries: 0 },
  })

const claims = (value: string): unknown =>
  JSON.parse(Buffer.from(value.split('.')[1] ?? '', 'base64url').toString())

describe('a credential of the Azure SDK', () => {
  it('provides a token for the database', async () => {
    const login = entra({ host: HOST, user: 'app', credentials: application() })
    const token = await login.token()
    expect(claims(token.value)).toMatchObject({ aud: AUDIENCE, tid: TENANT, appid: CLIENT_ID })
    const { exp } = claims(token.value) as { exp: number }
    expect(Math.abs(token.expiresAt.getTime() - exp * 1_000)).toBeLessThan(10_000)
  })

  it.each<[string, () => EntraOptions['credentials'], () => void]>([
    ['a wrong secret', () => application('CANARY-wrong'), () => {}],
    [
      'an issuer that fails',
      () => application(),
      () => issuer.intercept(() => ({ status: 500, body: { error: 'server_error' } })),
    ],
  ])("with %s fails with the SDK's error, which exposes no secret", async (_, make, prepare) => {
    prepare()
    const credentials = make()
    const login = entra({ host: HOST, user: 'app', credentials: credentials! })
    const error = await rejectionOf(login.token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `entra: could not get a token for ${HOST}`,
      cause: expect.any(Error),
    })
    expect(printed(error)).not.toContain('CANARY')
    issuer.intercept(() => undefined)
  })

  it('is called again after a failure', async () => {
    const login = entra({ host: HOST, user: 'app', credentials: application() })
    issuer.intercept(() => ({ status: 503, body: 'later' }))
    await rejectionOf(login.token())
    issuer.intercept(() => undefined)
    await login.token()
    expect(login.stats()).toMatchObject({ tokensMade: 1, tokensFailed: 1 })
  })
})

describe('the default credential', () => {
  // One endpoint, and the failure first: MSAL caches both the address and the tokens for the whole process.
  let identity: ManagedIdentity
  let answer: Parameters<typeof startManagedIdentity>[1]
  beforeAll(async () => {
    identity = await startManagedIdentity(issuer, (resource) => answer(resource))
  })
  afterAll(() => identity?.close())

  it('is reported with all sources that were tried if there is none', async () => {
    Object.assign(process.env, identity.env)
    answer = () => ({ status: 400, body: { error: 'invalid_request' } })
    const error = await rejectionOf(entra({ host: HOST, user: 'app' }).token())
    expect(error).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: 'entra: could not find an Azure identity',
      hint: expect.stringContaining('az login'),
      cause: expect.objectContaining({ name: 'AggregateAuthenticationError' }),
    })
  })

  it('is DefaultAzureCredential, which finds a managed identity and its name', async () => {
    Object.assign(process.env, identity.env)
    const mirid = userAssignedIdentity('shop-identity')
    answer = (resource) => (resource === AUDIENCE ? {} : { xms_mirid: mirid })
    const login = entra({ host: HOST })
    const tokens = await Promise.all(Array.from({ length: 20 }, () => login.token()))
    expect(new Set(tokens.map(({ value }) => value)).size).toBe(1)
    expect(login.user).toBe('shop-identity')
    expect(identity.resources).toEqual([AUDIENCE, AUDIENCE, 'https://management.azure.com'])
    expect(login.stats()).toMatchObject({ tokensMade: 1, credentialCalls: 2 })
  })

  it.each([
    ['shop.postgres.database.azure.com', {}, 'login.microsoftonline.com:443'],
    ['shop.postgres.database.usgovcloudapi.net', {}, 'login.microsoftonline.us:443'],
    ['shop.postgres.database.chinacloudapi.cn', {}, 'login.partner.microsoftonline.cn:443'],
    [
      'shop.postgres.database.chinacloudapi.cn',
      { AZURE_AUTHORITY_HOST: 'https://login.microsoftonline.us' },
      'login.microsoftonline.us:443',
    ],
  ])('for %s with %j logs in at %s', async (host, env, address) => {
    const proxy = await startRefusingProxy()
    Object.assign(process.env, env, {
      AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential',
      AZURE_TENANT_ID: TENANT,
      AZURE_CLIENT_ID: CLIENT_ID,
      AZURE_CLIENT_SECRET: SECRET,
      HTTPS_PROXY: proxy.url,
    })
    const error = await rejectionOf(entra({ host, user: 'app' }).token())
    expect(new Set(proxy.asked)).toEqual(new Set([address]))
    expect(printed(error)).not.toContain('CANARY')
    await proxy.close()
  })
})

/** A proxy that records the requested destinations and connects to none. */
async function startRefusingProxy(): Promise<{
  url: string
  asked: readonly string[]
  close(): Promise<void>
}> {
  const asked: string[] = []
  const server = createServer().on('connect', ({ url }, socket) => {
    asked.push(url ?? '')
    socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

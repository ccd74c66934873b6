import { entra } from '../../core/index.js'
import { createIdentityProvider } from '../../sign-in/identity-provider.js'
import { onBehalfOf, webIdentity, type SignedInIdentity } from '../../sign-in/index.js'
import { startLoopback } from '../support/issuers/loopback-server.js'

const IDENTITY: SignedInIdentity = {
  issuer: 'https://login.example.com',
  subject: 'alice',
  claims: { sub: 'alice', email: 'alice@example.com' },
  idToken: async () => 'an ID token',
  accessToken: async () => 'an access token',
  exchangeToken: () => Promise.reject(new Error('not called')),
}

describe('onBehalfOf', () => {
  it("exchanges the user's access token for one of the database, as Entra ID documents it", async () => {
    const forms: Record<string, string>[] = []
    const authorizations: (string | undefined)[] = []
    const issuer = await startLoopback(({ path, form, headers }) => {
      if (path === '/.well-known/openid-configuration')
        return { body: { issuer: issuer.url, token_endpoint: `${issuer.url}/token` } }
      forms.push(Object.fromEntries(form))
      authorizations.push(headers.authorization)
      return {
        body: { access_token: 'a token of the database', token_type: 'Bearer', expires_in: 3_600 },
      }
    })
    const provider = createIdentityProvider({
      issuer: issuer.url,
      clientId: 'application',
      clientSecret: 'secret',
      scopes: undefined,
      authorizationParams: {},
      clockSkewSecs: 30,
      requestTimeoutMs: 5_000,
      now: Date.now,
    })
    const login = entra({
      host: 'shop.postgres.database.azure.com',
      user: 'alice@example.com',
      credentials: onBehalfOf()({ ...IDENTITY, exchangeToken: provider.exchangeToken }) as never,
    })
    expect(await login.password()).toBe('a token of the database')
    expect(forms).toEqual([
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion: 'an access token',
        requested_token_use: 'on_behalf_of',
        scope: 'https://ossrdbms-aad.database.windows.net/.default',
      },
    ])
    expect(authorizations).toEqual([expect.stringMatching(/^Basic /)])
    await issuer.close()
  })
})

describe('webIdentity', () => {
  it.each<[string, object]>([
    ['"roleArn" must be the ARN of a role', { roleArn: 'alice' }],
    ['"roleArn" must be the ARN of a role, or a function', {}],
    ['"durationSecs" must be', { roleArn: () => '', durationSecs: 1 }],
    ['"endpoint" must be an https URL', { roleArn: () => '', endpoint: 'http://sts.example.com' }],
    ['"role" is not a known option', { role: 'x' }],
  ])('refuses options that are wrong: %s', (message, options) => {
    expect(() => webIdentity(options as never)).toThrow(message)
  })

  it('reports a function for the role that returns no ARN', async () => {
    const credentials = webIdentity({ roleArn: () => 'nobody' })(IDENTITY) as () => Promise<unknown>
    await expect(credentials()).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining('"roleArn" must be the ARN of a role') as string,
    })
  })
})

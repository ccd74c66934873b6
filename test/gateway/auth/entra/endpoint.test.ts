import type { EntraOptions } from '../../../../core/index.js'
import { endpointOptions, type EndpointOptions } from '../../../../gateway/auth/endpoints.js'
import { entraEndpoint } from '../../../../gateway/auth/entra/endpoint.js'
import type { EntraEndpoint } from '../../../../gateway/index.js'
import { thrownBy } from '../../../core/support/caught.js'
import { OBJECT_ID, OTHER_OBJECT_ID, TENANT } from '../../../support/issuers/entra-claims.js'
import { usePostgres } from '../../upstream-gateway.js'
import { currentUser } from '../current-user.js'

const ENTRY = {
  provider: 'entra',
  hosts: ['shop.postgres.database.azure.com'],
  principals: [{ objectId: OBJECT_ID, roles: ['app'] }],
}
const check = (own: object): EndpointOptions =>
  endpointOptions({ ...ENTRY, ...own }, 'endpoints[0]')

describe('an entra endpoint', () => {
  it('accepts its options, with IDs in upper or lower case', () => {
    const jwks = { keys: [] }
    expect(check({})).toEqual(ENTRY)
    expect(check({ listen: 0, tenantId: TENANT.toUpperCase(), jwks })).toEqual({
      ...ENTRY,
      listen: 0,
      tenantId: TENANT,
      jwks,
    })
    const principals = [{ objectId: OBJECT_ID.toUpperCase(), roles: ['a', 'b'] }]
    expect(check({ principals })).toMatchObject({
      principals: [{ objectId: OBJECT_ID, roles: ['a', 'b'] }],
    })
    for (const issuer of ['https://login.microsoftonline.com/x/v2.0', 'http://127.0.0.1:1/x'])
      expect(check({ tenantId: TENANT, issuer, jwksMaxAgeSecs: 0 })).toMatchObject({ issuer })
  })

  it('lists the roles of its principals', () => {
    const principals = [
      { objectId: OBJECT_ID, roles: ['app'] },
      { objectId: OTHER_OBJECT_ID, roles: ['readers'] },
    ]
    expect(entraEndpoint.roles({ ...ENTRY, provider: 'entra', principals })).toEqual([
      'app',
      'readers',
    ])
  })

  it.each<[object, string, string?]>([
    [{ hosts: undefined }, '"endpoints[0].hosts" must be given, got undefined'],
    [{ principals: undefined }, '"endpoints[0].principals" must be given, got undefined'],
    [
      { principals: [] },
      '"endpoints[0].principals" must be an array of at least one principal, got an array of 0',
    ],
    [
      { principals: [{ objectId: 'app', roles: [] }] },
      '"endpoints[0].principals[0].objectId" must be a UUID such as 0b1f7a2e-6c3d-4e8f-8a90-1c2d3e4f5a01, got "app"',
    ],
    [
      { principals: [{ objectId: OBJECT_ID }] },
      '"endpoints[0].principals[0].roles" must be given, got undefined',
    ],
    [
      { principals: [{ objectId: OBJECT_ID, roles: 'app' }] },
      '"endpoints[0].principals[0].roles" must be an array of role names, got "app"',
    ],
    [{ tenant: TENANT }, '"endpoints[0].tenant" is not a known option'],
    [
      { tenantId: 'common' },
      '"endpoints[0].tenantId" must be a UUID such as 0b1f7a2e-6c3d-4e8f-8a90-1c2d3e4f5a01, got "common"',
    ],
    [{ jwks: { keys: [] } }, '"endpoints[0].tenantId" must be given, got undefined'],
    [
      { jwks: {} },
      '"endpoints[0].jwks" must be a JSON Web Key Set or a function that returns one, got an object',
    ],
    [
      { tenantId: TENANT, jwksUri: 'http://keys.example.com' },
      '"endpoints[0].jwksUri" must be an https URL, or an http URL on this machine, got "http://keys.example.com"',
    ],
    [
      { tenantId: TENANT, issuer: 'login.microsoftonline.com' },
      '"endpoints[0].issuer" must be an https URL, or an http URL on this machine, got "login.microsoftonline.com"',
    ],
    [
      { tenantId: TENANT, jwks: { keys: [] }, jwksUri: 'https://x' },
      '"endpoints[0].jwks" and "endpoints[0].jwksUri" must not be given together',
      'ERR_OPTION_CONFLICT',
    ],
    [
      { tenantId: TENANT, jwks: { keys: [] }, jwksMaxAgeSecs: 5 },
      '"endpoints[0].jwks" and "endpoints[0].jwksMaxAgeSecs" must not be given together',
      'ERR_OPTION_CONFLICT',
    ],
    [
      { jwksMaxAgeSecs: 86_401 },
      '"endpoints[0].jwksMaxAgeSecs" must be an integer of seconds from 0 to 86400, got 86401',
    ],
  ])('rejects the options %j', (own, message, code = 'ERR_OPTION_INVALID') => {
    expect(thrownBy(() => check(own))).toMatchObject({ message, code })
  })
})

describe('the tokens of an entra endpoint with its own issuer', () => {
  const verdictFor = async (hosts: string[], scope: string): Promise<string> => {
    const surroundings = { clock: Date.now } as Parameters<typeof entraEndpoint.create>[1]
    const options = { ...ENTRY, provider: 'entra' as const, hosts }
    const { method, loginOptions } = entraEndpoint.create(options, surroundings)
    const { credentials } = loginOptions as {
      credentials: { getToken(scope: string): Promise<{ token: string }> }
    }
    const { token } = await credentials.getToken(scope)
    const client = { ask: async () => Promise.resolve(Buffer.from(`${token}\0`)) }
    const request = { role: 'app', database: 'postgres', servername: undefined }
    const verdict = await method.authenticate(request, client as never)
    return 'accepted' in verdict ? 'accepted' : verdict.refused.reason
  }

  it.each([
    ['shop.postgres.database.azure.com', 'windows.net'],
    ['shop.postgres.database.usgovcloudapi.net', 'usgovcloudapi.net'],
    ['shop.postgres.database.chinacloudapi.cn', 'chinacloudapi.cn'],
    ['localhost', 'windows.net'],
  ])('have the audience of the cloud of %s', async (host, domain) => {
    const scope = `https://ossrdbms-aad.database.${domain}/.default`
    expect(await verdictFor([host], scope)).toBe('accepted')
    expect(await verdictFor([host], scope.replace('.default', '/.default'))).toBe('accepted')
    expect(await verdictFor([host], '123cd850-d9df-40bd-94d5-c9f07b7fa203/.default')).toBe(
      'accepted',
    )
    const other = 'https://ossrdbms-aad.database.example.com/.default'
    expect(await verdictFor([host], other)).toBe('audience-wrong')
  })
})

const HOST = 'shop.postgres.database.azure.com'
const postgres = usePostgres(['app'])

describe('a gateway with its own Entra ID issuer', () => {
  const options: EntraEndpoint = {
    provider: 'entra',
    hosts: [HOST],
    principals: [{ objectId: OBJECT_ID, roles: ['app'] }],
  }

  it('creates logins with tokens of its first principal', async () => {
    const gateway = await postgres.start({ endpoints: [options], roles: ['app'] })
    const login = gateway.login()
    expect(login).toMatchObject({ provider: 'entra', host: HOST, user: 'app' })
    expect(await currentUser(login)).toEqual({ me: 'app' })
    expect(gateway.stats()).toMatchObject({ loginsAccepted: 1, distinctTokens: 1 })
  })

  it('refuses its own tokens for another audience', async () => {
    const gateway = await postgres.start({ endpoints: [options], roles: ['app'] })
    const scope = 'https://management.azure.com/.default'
    const login = gateway.login({ scope, reuseTokenSecs: 0 } as EntraOptions)
    await expect(currentUser(login)).rejects.toThrow('does not have a valid audience claim')
    expect(gateway.stats().refusals).toEqual({ 'audience-wrong': 1 })
  })

  it('refuses its own expired tokens, and the login requests a new one', async () => {
    let now = Date.now()
    const clock = () => now
    const gateway = await postgres.start({ endpoints: [options], roles: ['app'], clock })
    const login = gateway.login()
    expect(await currentUser(login)).toEqual({ me: 'app' })
    now += 3_601_000
    expect(await currentUser(login)).toEqual({ me: 'app' })
    expect(gateway.stats().refusals).toEqual({ 'token-expired': 1 })
    expect(login.stats().tokensMade).toBe(2)
  })

  it('refuses the tokens of another gateway', async () => {
    const [one, other] = await Promise.all([
      postgres.start({ endpoints: [options], roles: ['app'] }),
      postgres.start({ endpoints: [options], roles: ['app'] }),
    ])
    const { host, port, ca } = other
    const login = one.login({ connectTo: { host, port }, tls: { ca }, reuseTokenSecs: 0 })
    await expect(currentUser(login)).rejects.toMatchObject({ code: '28000' })
    expect(other.stats().refusals).toEqual({ 'signature-wrong': 1 })
  })
})

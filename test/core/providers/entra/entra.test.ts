import { azureCloudOf } from '../../../../core/providers/host-names.js'
import { AzureAuthorityHosts } from '@azure/identity'
import { entra, type EntraOptions, loginFromEnv, loginFromUrl } from '../../../../core/index.js'
import { createEntra } from '../../../../core/providers/entra/entra.js'
import { CLOUDS } from '../../../../core/providers/entra/token.js'
import { thrownBy } from '../../support/caught.js'
import { printed } from '../../support/printed.js'

const HOST = 'shop.postgres.database.azure.com'
const credentials = {
  getToken: async () => Promise.resolve({ token: 'x', expiresOnTimestamp: Date.now() + 60_000 }),
}
const surroundings = process.env
beforeEach(() => {
  process.env = {}
})
afterEach(() => {
  process.env = surroundings
})

describe('a login of entra', () => {
  it('has the defaults of Azure', () => {
    const login = entra({ host: HOST })
    expect(login).toMatchObject({
      provider: 'entra',
      host: HOST,
      port: 5432,
      database: 'postgres',
      user: undefined,
      tls: { servername: HOST, rejectUnauthorized: true },
    })
    expect(login).not.toHaveProperty('region')
    expect(login.tls).not.toHaveProperty('ca')
    expect(login.stats()).toMatchObject({ tokensMade: 0, credentialCalls: 0 })
  })

  it("takes libpq's variables from the environment", () => {
    const env = { PGHOST: HOST, PGPORT: '6432', PGDATABASE: 'shop', PGUSER: 'app' }
    expect(createEntra({}, env)).toMatchObject({ port: 6432, database: 'shop', user: 'app' })
    expect(createEntra({ user: 'own' }, env).user).toBe('own')
  })

  it('is recognised by its host name, in each cloud', () => {
    for (const domain of ['azure.com', 'usgovcloudapi.net', 'chinacloudapi.cn']) {
      const host = `shop.postgres.database.${domain}`
      expect(loginFromUrl(`postgres://app@${host}/shop`)).toMatchObject({
        provider: 'entra',
        host,
        user: 'app',
        database: 'shop',
      })
    }
    expect(loginFromEnv({}, { PGHOST: HOST })).toMatchObject({ provider: 'entra', user: undefined })
    const url = 'postgres://shop.privatelink.postgres.database.azure.com'
    const login = loginFromUrl(url, { credentials, tls: { servername: HOST } })
    expect(login).toMatchObject({ provider: 'entra', tls: { servername: HOST } })
  })

  it.each<[object, string, string]>([
    [{}, '"host" must be given', 'ERR_OPTION_INVALID'],
    [
      { host: HOST, credentials: 'CANARY' },
      '"credentials" must be a TokenCredential of the Azure SDK, or a function that returns one, got a string of 6 characters',
      'ERR_OPTION_INVALID',
    ],
    [
      { host: HOST, credentials: { clientSecret: 'CANARY' } },
      '"credentials" must be a TokenCredential of the Azure SDK, or a function that returns one, got an object',
      'ERR_OPTION_INVALID',
    ],
    [
      { host: HOST, cloud: 'germany' },
      '"cloud" must be "public" or "us-government" or "china", got "germany"',
      'ERR_OPTION_INVALID',
    ],
    [
      { host: HOST, scope: '' },
      '"scope" must be a non-empty string without control characters, got ""',
      'ERR_OPTION_INVALID',
    ],
    [{ host: HOST, region: 'x' }, '"region" is not a known option', 'ERR_OPTION_INVALID'],
    [
      { host: HOST, tls: false },
      '"tls" must not turn TLS or its verification off',
      'ERR_TLS_UNVERIFIED',
    ],
  ])('rejects %j', (options, message, code) => {
    const error = thrownBy(() => entra(options as EntraOptions))
    expect(error).toMatchObject({ message, code })
    expect(printed(error)).not.toContain('CANARY')
  })
})

describe('azureCloudOf', () => {
  it.each([
    ['shop.postgres.database.azure.com', 'public'],
    ['shop-2.privatelink.postgres.database.azure.com', 'public'],
    ['shop.private.postgres.database.azure.com', 'public'],
    ['shop.e5f6.zone.postgres.database.azure.com', 'public'],
    ['shop.postgres.database.usgovcloudapi.net', 'us-government'],
    ['shop.privatelink.postgres.database.usgovcloudapi.net', 'us-government'],
    ['shop.postgres.database.chinacloudapi.cn', 'china'],
    ['postgres.database.azure.com', undefined],
    ['.postgres.database.azure.com', undefined],
    ['shop..postgres.database.azure.com', undefined],
    ['shop.postgres.database.azure.com.example.com', undefined],
    ['shoppostgres.database.azure.com', undefined],
    ['shop.mysql.database.azure.com', undefined],
    ['shop.database.windows.net', undefined],
    ['', undefined],
  ])('returns for %s: %s', (host, cloud) => {
    expect(azureCloudOf(host)).toBe(cloud)
  })
})

describe('the clouds', () => {
  it('have the authority hosts of the Azure SDK', () => {
    const { AzurePublicCloud, AzureGovernment, AzureChina } = AzureAuthorityHosts
    expect(Object.values(CLOUDS).map(({ authorityHost }) => authorityHost)).toEqual([
      AzurePublicCloud,
      AzureGovernment,
      AzureChina,
    ])
  })
})

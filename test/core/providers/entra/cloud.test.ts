import { AzureAuthorityHosts } from '@azure/identity'
import { CLOUDS, azureCloudOf } from '../../../../core/providers/entra/cloud.js'

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
  ])('says of %s: %s', (host, cloud) => {
    expect(azureCloudOf(host)).toBe(cloud)
  })
})

describe('the clouds', () => {
  it('have the authorities that the Azure SDK knows', () => {
    const { AzurePublicCloud, AzureGovernment, AzureChina } = AzureAuthorityHosts
    expect(Object.values(CLOUDS).map(({ authorityHost }) => authorityHost)).toEqual([
      AzurePublicCloud,
      AzureGovernment,
      AzureChina,
    ])
  })
})

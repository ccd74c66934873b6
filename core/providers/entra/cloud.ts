/** The clouds of Microsoft in which there are Azure Databases for PostgreSQL. */

/** `public` is Azure itself; the others are those of the United States government and of China. */
export type AzureCloud = 'public' | 'us-government' | 'china'

export interface CloudFacts {
  /** What the names of its servers end in. */
  readonly domain: string
  /** What a token for its databases is asked for with. */
  readonly scope: string
  /** The same for its resource manager, whose tokens say more of a managed identity. */
  readonly managementScope: string
  /** Where its identities log in. */
  readonly authorityHost: string
}

/**
 * Domains: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and
 * https://learn.microsoft.com/azure/china/resources-developer-guide
 *
 * Scopes: the resource IDs that the Azure CLI knows as `ossrdbmsResourceId` and `resourceManager`
 * (https://github.com/Azure/azure-cli/blob/dev/src/azure-cli-core/azure/cli/core/cloud.py); `az cloud show` prints them.
 */
export const CLOUDS: Readonly<Record<AzureCloud, CloudFacts>> = {
  public: {
    domain: 'postgres.database.azure.com',
    scope: 'https://ossrdbms-aad.database.windows.net/.default',
    managementScope: 'https://management.azure.com/.default',
    authorityHost: 'https://login.microsoftonline.com',
  },
  'us-government': {
    domain: 'postgres.database.usgovcloudapi.net',
    scope: 'https://ossrdbms-aad.database.usgovcloudapi.net/.default',
    managementScope: 'https://management.usgovcloudapi.net/.default',
    authorityHost: 'https://login.microsoftonline.us',
  },
  china: {
    domain: 'postgres.database.chinacloudapi.cn',
    scope: 'https://ossrdbms-aad.database.chinacloudapi.cn/.default',
    managementScope: 'https://management.chinacloudapi.cn/.default',
    authorityHost: 'https://login.chinacloudapi.cn',
  },
}

/**
 * The cloud that the name of a server is of, or `undefined` for a name of another kind. Private names have more labels:
 * `NAME.privatelink.postgres.database.azure.com`, `NAME.private.postgres.database.azure.com`.
 */
export function azureCloudOf(host: string): AzureCloud | undefined {
  const clouds = Object.keys(CLOUDS) as AzureCloud[]
  return clouds.find((cloud) => {
    const name = host.endsWith(`.${CLOUDS[cloud].domain}`)
      ? host.slice(0, -CLOUDS[cloud].domain.length - 1)
      : ''
    return /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(name)
  })
}

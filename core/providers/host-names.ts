/** The host names of each provider's databases. All functions expect a name in lower case and without a final dot. */

/** The provider whose databases have such a host name, or `undefined` for any other name. */
export function providerOfHost(host: string): HostedProvider | undefined {
  return PROVIDERS.find(([, isHost]) => isHost(host))?.[0]
}

/** The providers that can be recognised by the host name. */
export type HostedProvider = 'aurora-dsql' | 'rds' | 'entra' | 'cloud-sql' | 'redshift'

const PROVIDERS: readonly [HostedProvider, (host: string) => boolean][] = [
  ['aurora-dsql', (host) => dsqlRegion(host) !== undefined],
  ['rds', (host) => rdsEndpoint(host) !== undefined || isGlobalWriter(host)],
  ['entra', (host) => azureCloudOf(host) !== undefined],
  ['cloud-sql', isCloudSqlHost],
  ['redshift', (host) => redshiftEndpoint(host) !== undefined],
]

/**
 * The provider in whose domain a name is, or `undefined` for any other name. Unlike `providerOfHost` it also knows names that are not those
 * of a database with tokens, such as one that is incomplete, or that of a Cosmos DB cluster.
 */
export function providerOfDomain(host: string): HostedProvider | undefined {
  return DOMAINS.find(([, domain]) => domain.test(host))?.[0] ?? providerOfHost(host)
}

const DOMAINS: readonly [HostedProvider, RegExp][] = [
  ['aurora-dsql', /\.dsql(?:-[a-z0-9]+)?\.[a-z0-9-]+\.on\.aws$/],
  ['rds', /\.rds(?:-fips)?(?:\.[a-z0-9-]+)?\.amazonaws\.(?:com(?:\.cn)?|eu)$/],
  ['redshift', /\.redshift(?:-serverless)?\.amazonaws\.com(?:\.cn)?$/],
  [
    'entra',
    /\.postgres\.(?:database\.(?:azure\.com|chinacloudapi\.cn|usgovcloudapi\.net)|cosmos\.azure\.com)$/,
  ],
  ['cloud-sql', /\.sql(?:-psa)?\.goog$/],
]

/**
 * The region in a cluster's endpoint name, or `undefined` for any other name.
 *
 * Public endpoints are `<cluster>.dsql.<region>.on.aws`. PrivateLink endpoints contain the suffix of their service, which AWS does not
 * specify: `<cluster>.dsql-fnh4.<region>.on.aws`. See
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html
 */
export function dsqlRegion(host: string): string | undefined {
  return /^[a-z0-9]+\.dsql(?:-[a-z0-9]+)?\.([a-z0-9-]+)\.on\.aws$/.exec(host)?.[1]
}

/** The parts of an endpoint's name. */
interface RdsEndpoint {
  readonly region: string
  /** Whether it is an endpoint of RDS Proxy, which has certificates of Amazon's public CAs. */
  readonly isProxy: boolean
}

/**
 * Parses an endpoint name in lower case and without a final dot. Returns `undefined` for any other name.
 *
 * Supports instances, including those of a blue/green deployment (`-green-abc123`, `-old1`), clusters with their reader and custom
 * endpoints, shard groups, and proxies with their additional endpoints, in all partitions. The region comes before `rds`; in China and in
 * newer partitions it comes after `rds`. See https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Overview.Endpoints.html
 */
export function rdsEndpoint(host: string): RdsEndpoint | undefined {
  const { first, second, kind } = ENDPOINT.exec(host)?.groups ?? {}
  const region = first ?? second
  return region === undefined ? undefined : { region, isProxy: kind === 'proxy-' }
}

/**
 * Whether a name is the writer endpoint of an Aurora global database. It contains no region: it is a CNAME for the cluster endpoint in the
 * current primary region. See https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-connecting.html
 */
export function isGlobalWriter(host: string): boolean {
  return /^[a-z0-9-]+\.global-[a-z0-9]+\.global\.rds\.amazonaws\.(com(\.cn)?|eu)$/.test(host)
}

const NAME = String.raw`^[a-z0-9-]+\.(?:endpoint\.)?`
const KIND = '(?<kind>cluster-(?:ro-|custom-)?|proxy-|shardgrp-)?'
const REGION = String.raw`[a-z]{2,}(?:-[a-z]+)+-\d+`

/** The suffixes of the AWS SDKs' partitions: aws and aws-us-gov, aws-cn, aws-eusc, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f. */
const SUFFIXES = [
  'amazonaws.com',
  'amazonaws.com.cn',
  'amazonaws.eu',
  'c2s.ic.gov',
  'sc2s.sgov.gov',
  'cloud.adc-e.uk',
  'csp.hci.ic.gov',
].map((suffix) => suffix.replaceAll('.', String.raw`\.`))

const ENDPOINT = new RegExp(
  String.raw`${NAME}${KIND}[a-z0-9]+\.(?:(?<first>${REGION})\.rds(?:-fips)?|rds(?:-fips)?\.(?<second>${REGION}))\.(?:${SUFFIXES.join('|')})$`,
)

export interface RedshiftEndpoint {
  kind: 'cluster' | 'workgroup'
  /** The cluster identifier, or the name of the workgroup. */
  name: string
  region: string
}

/**
 * Parses an endpoint name. Returns `undefined` for any other name. `CLUSTER.ID.REGION.redshift.amazonaws.com` is a provisioned cluster,
 * `WORKGROUP.ACCOUNT.REGION.redshift-serverless.amazonaws.com` a serverless workgroup; in China with the suffix `.cn`. See
 * https://docs.aws.amazon.com/redshift/latest/mgmt/configuring-connections.html and
 * https://docs.aws.amazon.com/redshift/latest/mgmt/serverless-connecting.html
 */
export function redshiftEndpoint(host: string): RedshiftEndpoint | undefined {
  const match =
    /^([a-z0-9-]+)\.[a-z0-9]+\.([a-z]{2,}(?:-[a-z0-9]+)+)\.redshift(-serverless)?\.amazonaws\.com(?:\.cn)?$/.exec(
      host,
    )
  if (match === null) return undefined
  const [, name = '', region = '', serverless] = match
  return { kind: serverless === undefined ? 'cluster' : 'workgroup', name, region }
}

export type AzureCloud = 'public' | 'us-government' | 'china'

const AZURE_DOMAINS: Readonly<Record<AzureCloud, string>> = {
  public: 'postgres.database.azure.com',
  'us-government': 'postgres.database.usgovcloudapi.net',
  china: 'postgres.database.chinacloudapi.cn',
}

/**
 * The cloud of a server name, or `undefined` for any other name. Private names have more labels:
 * `NAME.privatelink.postgres.database.azure.com`, `NAME.private.postgres.database.azure.com`.
 */
export function azureCloudOf(host: string): AzureCloud | undefined {
  const clouds = Object.keys(AZURE_DOMAINS) as AzureCloud[]
  return clouds.find((cloud) => {
    const suffix = `.${AZURE_DOMAINS[cloud]}`
    const name = host.endsWith(suffix) ? host.slice(0, -suffix.length) : ''
    return /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(name)
  })
}

/**
 * Whether a name is the DNS name of a Cloud SQL instance: `ID.LABEL.REGION.sql.goog`, or `….sql-psa.goog` for private services access.
 * Instances without one have only IP addresses, which cannot be recognised. See https://cloud.google.com/sql/docs/postgres/configure-dns
 */
export function isCloudSqlHost(host: string): boolean {
  return /^([a-z0-9-]+\.)+sql(-psa)?\.goog$/.test(host)
}

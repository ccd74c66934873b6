/** The host names of Amazon RDS and Amazon Aurora. */

/** What an endpoint's name says. */
export interface RdsEndpoint {
  readonly region: string
  /** Whether it is one of an RDS Proxy, which has certificates by Amazon's public authorities. */
  readonly isProxy: boolean
}

/**
 * Reads the name of an endpoint, in lower case and without a final dot, or returns `undefined` for a name of another kind.
 *
 * Known are instances, also those of a blue/green deployment (`-green-abc123`, `-old1`), clusters with their readers and custom
 * endpoints, shard groups and proxies with their additional endpoints, in all partitions. The region stands before `rds`, or, in
 * China and in partitions that came later, behind it.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Overview.Endpoints.html
 */
export function rdsEndpoint(host: string): RdsEndpoint | undefined {
  const { first, second, kind } = ENDPOINT.exec(host)?.groups ?? {}
  const region = first ?? second
  return region === undefined ? undefined : { region, isProxy: kind === 'proxy-' }
}

/**
 * Tells whether a name is the writer endpoint of an Aurora global database. It names no region: it is another name for the
 * cluster endpoint of the region that is primary at the moment.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-connecting.html
 */
export function isGlobalWriter(host: string): boolean {
  return /^[a-z0-9-]+\.global-[a-z0-9]+\.global\.rds\.amazonaws\.(com(\.cn)?|eu)$/.test(host)
}

const NAME = String.raw`^[a-z0-9-]+\.(?:endpoint\.)?`
const KIND = '(?<kind>cluster-(?:ro-|custom-)?|proxy-|shardgrp-)?'
const REGION = String.raw`[a-z]{2,}(?:-[a-z]+)+-\d+`

/** Those of the partitions in the AWS SDKs: aws and aws-us-gov, aws-cn, aws-eusc, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f. */
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

/** The host names of Amazon RDS and Amazon Aurora. */
import { PgIamError } from '../../errors.js'

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

// Resolves a custom host name to an RDS endpoint.

/** Like `resolveCname` of `node:dns/promises`. */
export type ResolveCname = (name: string) => Promise<readonly string[]>

const resolveByDns: ResolveCname = async (name) =>
  (await import('node:dns/promises')).resolveCname(name)

/** The limit of common resolvers. */
const MAX_NAMES = 10

/**
 * Follows the CNAME records of `host` to the first RDS endpoint, and resolves with that.
 *
 * Results are not cached: weighted records give each connection a different target, and those of a failover change within seconds (Aurora's
 * own have a TTL of five, https://repost.aws/knowledge-center/aurora-mysql-redirected-endpoint-writer).
 *
 * Rejects with `ERR_OPTION_INVALID` if the name resolves to no endpoint, and with `ERR_CONNECT_FAILED` if the DNS query fails.
 */
export async function resolveEndpoint(
  host: string,
  resolveCname: ResolveCname = resolveByDns,
): Promise<string> {
  const names = [host]
  for (let name = host; names.length <= MAX_NAMES;) {
    const [target] = await cnamesOf(name, names, resolveCname)
    if (target === undefined) throw unresolvable(names)
    name = target.toLowerCase().replace(/\.$/, '')
    if (rdsEndpoint(name) !== undefined) return name
    if (names.includes(name)) throw unresolvable([...names, name], 'has a CNAME loop')
    names.push(name)
  }
  throw unresolvable(names, `has more than ${MAX_NAMES} CNAMEs`)
}

/** DNS error codes for a name without such a record. */
const NO_RECORD: ReadonlySet<unknown> = new Set(['ENODATA', 'ENOTFOUND'])

async function cnamesOf(
  name: string,
  names: readonly string[],
  resolveCname: ResolveCname,
): Promise<readonly string[]> {
  try {
    return await resolveCname(name)
  } catch (cause) {
    if (NO_RECORD.has((cause as { code?: unknown } | null)?.code)) {
      throw unresolvable(names, undefined, { cause })
    }
    throw new PgIamError(
      'ERR_CONNECT_FAILED',
      `rds: could not resolve ${names[0]} to an endpoint`,
      { cause, retryable: true, hint: `The DNS query for the CNAME of ${name} failed.` },
    )
  }
}

function unresolvable(
  names: readonly string[],
  problem = 'does not resolve to one',
  options: { cause?: unknown } = {},
): PgIamError {
  const chain = names.length === 1 ? '' : ` (${names.join(' -> ')})`
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"host" must be an RDS endpoint or a CNAME for one, but ${names[0]} ${problem}${chain}`,
    {
      hint: 'Give the endpoint as "host", and the address to dial as "connectTo". The database behind a tunnel, a load balancer or a name without a CNAME record cannot be determined.',
      ...options,
    },
  )
}

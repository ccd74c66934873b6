/** The host names of Amazon RDS and Amazon Aurora. */
import { PgIamError } from '../../errors.js'

/** What an endpoint's name says. */
interface RdsEndpoint {
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

// Finds the RDS endpoint that a host name of the user's own is another name for.

/** As `resolveCname` of `node:dns/promises`. */
export type ResolveCname = (name: string) => Promise<readonly string[]>

const resolveByDns: ResolveCname = async (name) =>
  (await import('node:dns/promises')).resolveCname(name)

/** As many as resolvers follow themselves. */
const MOST_NAMES = 10

/**
 * Follows the CNAME records of `host` to the first RDS endpoint, and resolves with that.
 *
 * Nothing is kept: records with weights send each connection elsewhere, and those of a failover change within seconds (Aurora's
 * own live for five, https://repost.aws/knowledge-center/aurora-mysql-redirected-endpoint-writer).
 *
 * Rejects with `ERR_OPTION_INVALID` where the name leads to no endpoint, and with `ERR_CONNECT_FAILED` where that could not be
 * found out.
 */
export async function resolveEndpoint(
  host: string,
  resolveCname: ResolveCname = resolveByDns,
): Promise<string> {
  const names = [host]
  for (let name = host; names.length <= MOST_NAMES;) {
    const [target] = await namesBehind(name, names, resolveCname)
    if (target === undefined) throw leadsNowhere(names)
    name = target.toLowerCase().replace(/\.$/, '')
    if (rdsEndpoint(name) !== undefined) return name
    if (names.includes(name)) throw leadsNowhere([...names, name], 'in a circle')
    names.push(name)
  }
  throw leadsNowhere(names, `on and on, over more than ${MOST_NAMES} names`)
}

/** What a DNS server answers where it knows that there is no such record. */
const NO_RECORD: ReadonlySet<unknown> = new Set(['ENODATA', 'ENOTFOUND'])

async function namesBehind(
  name: string,
  names: readonly string[],
  resolveCname: ResolveCname,
): Promise<readonly string[]> {
  try {
    return await resolveCname(name)
  } catch (cause) {
    if (NO_RECORD.has((cause as { code?: unknown } | null)?.code)) {
      throw leadsNowhere(names, undefined, { cause })
    }
    throw new PgIamError(
      'ERR_CONNECT_FAILED',
      `rds: could not find out which endpoint ${names[0]} is another name for`,
      { cause, retryable: true, hint: `The DNS servers did not say what ${name} leads to.` },
    )
  }
}

function leadsNowhere(
  names: readonly string[],
  how = 'to none',
  options: { cause?: unknown } = {},
): PgIamError {
  const chain = names.length === 1 ? '' : ` (${names.join(' -> ')})`
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"host" must be an RDS endpoint or another name for one, and ${names[0]} leads ${how}${chain}`,
    {
      hint: 'Give the endpoint as "host", and where to dial instead as "connectTo": tunnels, load balancers and names without a CNAME record do not say which database is behind them.',
      ...options,
    },
  )
}

/** Resolves custom host names to endpoints of Amazon RDS and Amazon Aurora. */
import { PgIamError } from '../../errors.js'
import { rdsEndpoint } from '../host-names.js'

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

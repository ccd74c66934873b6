/** Finds the RDS endpoint that a host name of the user's own is another name for. */
import { PgIamError } from '../../errors.js'
import { rdsEndpoint } from './endpoint.js'

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
export async function endpointBehind(
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

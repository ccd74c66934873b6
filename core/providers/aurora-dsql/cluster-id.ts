/** The ID by which a cluster is found behind an endpoint of AWS PrivateLink. */
import { PgIamError } from '../../errors.js'
import type { Address } from '../../login.js'
import { invalidOption, type Check } from '../../options/check.js'
import { dsqlRegion, isClusterId } from './host.js'

export interface ClusterIdSettings {
  /** The `clusterId` option. */
  clusterId: string | boolean | undefined
  host: string
  connectTo: Address | undefined
}

/**
 * The startup parameters that name the cluster, or none. Aurora DSQL finds the cluster by the host name that is dialled; an
 * interface endpoint that is dialled by its own name is told by `amzn-cluster-id`:
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html
 *
 * Throws `ERR_OPTION_CONFLICT` where the host is another cluster's, `ERR_OPTION_INVALID` where nothing says which cluster it is.
 */
export function clusterIdParameters({
  clusterId,
  host,
  connectTo,
}: ClusterIdSettings): Readonly<Record<string, string>> {
  const isWanted = clusterId ?? (connectTo !== undefined && isInterfaceEndpoint(connectTo.host))
  if (isWanted === false) return {}
  const named = dsqlRegion(host) === undefined ? undefined : host.slice(0, host.indexOf('.'))
  const id = typeof clusterId === 'string' ? clusterId : named
  if (id === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"clusterId" must be the ID of the cluster where "host" does not name it',
    )
  }
  if (named !== undefined && id !== named) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"clusterId" must be "${named}", as "host" says, got "${id}"`,
    )
  }
  return { options: `-c amzn-cluster-id=${id}` }
}

/** The `clusterId` option. */
export const clusterId: Check<string | boolean> = (value, name) => {
  if (typeof value === 'boolean' || (typeof value === 'string' && isClusterId(value))) return value
  throw invalidOption(name, 'a cluster ID of 26 letters and digits, true or false', value)
}

function isInterfaceEndpoint(host: string): boolean {
  return /\.vpce\.amazonaws\.com(\.cn)?$/.test(host)
}

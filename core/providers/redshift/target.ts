/** What of Redshift a password is for: a cluster, a workgroup, or the one behind a custom domain name. */
import { PgIamError } from '../../errors.js'
import { redshiftEndpoint, type RedshiftEndpoint } from './host.js'

export interface RedshiftTarget {
  kind: RedshiftEndpoint['kind']
  /** The cluster identifier, or the name of the workgroup; `undefined` where the host is a custom domain name. */
  name: string | undefined
  /** Where the host names it. */
  region: string | undefined
}

export interface TargetOptions {
  clusterIdentifier?: string
  workgroupName?: string
  customDomain?: RedshiftEndpoint['kind']
}

/** Throws `ERR_OPTION_INVALID` where neither the host nor an option says it, `ERR_OPTION_CONFLICT` where they disagree. */
export function redshiftTarget(host: string, options: TargetOptions): RedshiftTarget {
  const endpoint = redshiftEndpoint(host)
  const [option, ...others] = (
    ['clusterIdentifier', 'workgroupName', 'customDomain'] as const
  ).filter((name) => options[name] !== undefined)
  if (others[0] !== undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${option}" and "${others[0]}" must not be given together`,
    )
  }
  if (option === undefined) {
    if (endpoint !== undefined) return endpoint
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"clusterIdentifier", "workgroupName" or "customDomain" must be given where "host" is no endpoint name of Redshift',
      {
        hint: 'Give customDomain: "cluster" or "workgroup" where "host" is a custom domain name of one; for a tunnel give the endpoint name as "host", and the tunnel as "connectTo".',
      },
    )
  }
  const kind = options.customDomain ?? (option === 'clusterIdentifier' ? 'cluster' : 'workgroup')
  // Redshift's own VPC endpoints have such names, too, which do not say which cluster or workgroup they are of.
  if (endpoint !== undefined && (endpoint.kind !== kind || option === 'customDomain')) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${option}" must not be given where "host" is an endpoint name of a ${endpoint.kind}`,
    )
  }
  return {
    kind,
    name: options.clusterIdentifier ?? options.workgroupName,
    region: endpoint?.region,
  }
}

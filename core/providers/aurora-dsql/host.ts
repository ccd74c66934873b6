/** The host names of Aurora DSQL clusters. */
import { PgIamError } from '../../errors.js'

/**
 * The region in a cluster's endpoint name, or `undefined` for a name of another kind.
 *
 * Public endpoints are `<cluster>.dsql.<region>.on.aws`. PrivateLink ones carry the suffix of their service, which AWS does
 * not fix: `<cluster>.dsql-fnh4.<region>.on.aws`.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html
 */
export function dsqlRegion(host: string): string | undefined {
  return /^[a-z0-9]+\.dsql(?:-[a-z0-9]+)?\.([a-z0-9-]+)\.on\.aws$/.exec(host)?.[1]
}

/** Tells whether a name is a cluster ID, 26 letters and digits: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/ */
export function isClusterId(name: string): boolean {
  return /^[a-z0-9]{26}$/.test(name)
}

/** The public endpoint name of a cluster. */
export function dsqlEndpoint(clusterId: string, region: string | undefined): string {
  if (region === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"host" is a cluster ID and must be given with "region"',
      {
        hint: 'Give the endpoint name, CLUSTER.dsql.REGION.on.aws, or set "region" or AWS_REGION.',
      },
    )
  }
  return `${clusterId}.dsql.${region}.on.aws`
}

/** The host names of Aurora DSQL clusters. */
import { PgIamError } from '../errors.js'

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

/** The endpoint name for what was given as `host`: an endpoint name as it is, or a cluster ID completed with the region. */
export function dsqlEndpoint(hostOrId: string, region: string | undefined): string {
  if (!CLUSTER_ID.test(hostOrId)) return hostOrId
  if (region === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"host" is a cluster ID and must be given with "region"',
      {
        hint: 'Give the endpoint name, CLUSTER.dsql.REGION.on.aws, or set "region" or AWS_REGION.',
      },
    )
  }
  return `${hostOrId}.dsql.${region}.on.aws`
}

/** 26 lower-case letters and digits: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/ */
const CLUSTER_ID = /^[a-z0-9]{26}$/

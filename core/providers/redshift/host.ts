/** The host names of Amazon Redshift. */

export interface RedshiftEndpoint {
  kind: 'cluster' | 'workgroup'
  /** The cluster identifier, or the name of the workgroup. */
  name: string
  region: string
}

/**
 * What an endpoint name says, or `undefined` for a name of another kind: `CLUSTER.ID.REGION.redshift.amazonaws.com` for provisioned
 * clusters, `WORKGROUP.ACCOUNT.REGION.redshift-serverless.amazonaws.com` for serverless workgroups; in China with `.cn` behind it.
 * See https://docs.aws.amazon.com/redshift/latest/mgmt/configuring-connections.html and
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

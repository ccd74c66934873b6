/** The ID of a cluster in a startup packet, by which Aurora DSQL finds it behind an endpoint of AWS PrivateLink. */

export interface StartupParameters {
  readonly clusterId: string | undefined
  /** Without it: to PostgreSQL it would be a setting that does not exist. */
  readonly parameters: ReadonlyMap<string, string>
}

/** See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html */
export function takeClusterId(parameters: ReadonlyMap<string, string>): StartupParameters {
  const options = parameters.get('options')
  let clusterId: string | undefined
  const rest = options?.replaceAll(CLUSTER_ID, (_match, id: string) => {
    clusterId = id
    return ''
  })
  if (rest === undefined || clusterId === undefined) return { clusterId, parameters }
  const others = new Map(parameters)
  if (rest.trim() === '') others.delete('options')
  else others.set('options', rest.trim())
  return { clusterId, parameters: others }
}

const CLUSTER_ID = /(?<!\S)(?:-c\s*|--)amzn[-_]cluster[-_]id=(\S*)/g

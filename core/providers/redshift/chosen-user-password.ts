/** Passwords for a user of the caller's choice of a provisioned cluster, by `GetClusterCredentials`. */
import { withoutRequest } from '../aws/credentials-provider.js'
import { clusterPassword, loadSdk } from './cluster-password.js'
import { ACCESS_DENIED, isNamed, type PasswordApi } from './password-api.js'

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentials.html */
export const chosenUserPassword: PasswordApi = {
  // The user comes back as `IAM:NAME`, or as `IAMA:NAME` with `AutoCreate`, and that is to be logged in as.
  names: clusterPassword.names,

  async ask({ host, region, name, database, chosen, durationSecs, credentials, signal }) {
    const { RedshiftClient, GetClusterCredentialsCommand } = await loadSdk()
    const client = new RedshiftClient({ region, credentials })
    const { user, groups, create } = chosen!
    const command = new GetClusterCredentialsCommand({
      DbUser: user,
      DbName: database,
      DurationSeconds: durationSecs,
      ...(create ? { AutoCreate: true } : {}),
      ...(groups === undefined ? {} : { DbGroups: [...groups] }),
      ...(name === undefined ? { CustomDomainName: host } : { ClusterIdentifier: name }),
    })
    try {
      const answer = await withoutRequest(client.send(command, { abortSignal: signal }))
      // A user who is not named is none, here.
      return {
        value: answer.DbPassword,
        expiresAt: answer.Expiration,
        user: answer.DbUser ?? null,
      }
    } finally {
      client.destroy()
    }
  },

  explain(error, place) {
    if (!isNamed(error, ...ACCESS_DENIED)) return clusterPassword.explain(error, place)
    const { name = 'CLUSTER', database, region, chosen } = place
    const arn = (kind: string, of: string): string =>
      `arn:aws:redshift:${region}:ACCOUNT:${kind}:${name}/${of}`
    const { user, groups = [], create } = chosen!
    return [
      `Allow redshift:GetClusterCredentials on ${arn('dbuser', user)} and ${arn('dbname', database)}`,
      ...(create ? [`redshift:CreateClusterUser on ${arn('dbuser', user)}`] : []),
      ...(groups.length === 0
        ? []
        : [`redshift:JoinGroup on ${groups.map((group) => arn('dbgroup', group)).join(', ')}`]),
    ]
      .join('; ')
      .concat('.')
  },
}

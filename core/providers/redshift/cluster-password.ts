/** Passwords for provisioned clusters, by `GetClusterCredentialsWithIAM`. */
import { peerError } from '../../load-peer.js'
import { withoutRequest } from '../aws/credentials-provider.js'
import { ACCESS_DENIED, isNamed, type PasswordApi } from './password-api.js'

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentialsWithIAM.html */
export const clusterPassword: PasswordApi = {
  names: { value: 'DbPassword', expiresAt: 'Expiration', user: 'DbUser' },

  async ask({ host, region, name, database, durationSecs, credentials, signal }) {
    const { RedshiftClient, GetClusterCredentialsWithIAMCommand } = await loadSdk()
    const client = new RedshiftClient({ region, credentials })
    const command = new GetClusterCredentialsWithIAMCommand({
      DbName: database,
      DurationSeconds: durationSecs,
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

  explain(error, { name = 'CLUSTER', database, region }) {
    if (isNamed(error, ...ACCESS_DENIED))
      return `Allow redshift:GetClusterCredentialsWithIAM on arn:aws:redshift:${region}:ACCOUNT:dbname:${name}/${database}.`
    if (isNamed(error, 'ClusterNotFound', 'ClusterNotFoundFault'))
      return 'Check the cluster identifier, the region, and the account of the credentials; a VPC endpoint needs "clusterIdentifier".'
    return undefined
  },
}

export async function loadSdk(): Promise<typeof import('@aws-sdk/client-redshift')> {
  try {
    return await import('@aws-sdk/client-redshift')
  } catch (error) {
    throw peerError(error, '@aws-sdk/client-redshift')
  }
}

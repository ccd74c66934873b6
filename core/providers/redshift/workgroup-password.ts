/** Passwords for serverless workgroups, by `GetCredentials`. */
import { peerError } from '../../load-peer.js'
import { withoutRequest } from '../aws/credentials-provider.js'
import { ACCESS_DENIED, isNamed, type PasswordApi } from './password-api.js'

/** See https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/API_GetCredentials.html */
export const workgroupPassword: PasswordApi = {
  names: { value: 'dbPassword', expiresAt: 'expiration', user: 'dbUser' },

  async ask({ host, region, name, database, durationSecs, credentials, signal }) {
    const { RedshiftServerlessClient, GetCredentialsCommand } = await loadSdk()
    const client = new RedshiftServerlessClient({ region, credentials })
    const command = new GetCredentialsCommand({
      dbName: database,
      durationSeconds: durationSecs,
      ...(name === undefined ? { customDomainName: host } : { workgroupName: name }),
    })
    try {
      const answer = await withoutRequest(client.send(command, { abortSignal: signal }))
      // A user who is not named is none, here.
      return {
        value: answer.dbPassword,
        expiresAt: answer.expiration,
        user: answer.dbUser ?? null,
      }
    } finally {
      client.destroy()
    }
  },

  explain(error) {
    if (isNamed(error, ...ACCESS_DENIED))
      return 'Allow redshift-serverless:GetCredentials on the ARN of the workgroup, which ends in its ID, not in its name.'
    if (isNamed(error, 'ResourceNotFoundException'))
      return 'Check the name of the workgroup, the region, and the account of the credentials; a VPC endpoint needs "workgroupName".'
    return undefined
  },
}

async function loadSdk(): Promise<typeof import('@aws-sdk/client-redshift-serverless')> {
  try {
    return await import('@aws-sdk/client-redshift-serverless')
  } catch (error) {
    throw peerError(error, '@aws-sdk/client-redshift-serverless')
  }
}

/**
 * A stand-in for the agent that gives a container its credentials, as EKS Pod Identity's and that of ECS do: on loopback, for a
 * token that it finds in a file.
 */
import { startLoopback } from '../issuers/loopback-server.js'
import type { RoleCredentials } from './sts.js'

export interface ContainerAgent {
  /** For AWS_CONTAINER_CREDENTIALS_FULL_URI. */
  readonly url: string
  /** With which tokens it was asked. */
  readonly authorizations: readonly string[]
  close(): Promise<void>
}

/** Starts it. It gives credentials for `token` alone. */
export async function startContainerAgent(
  token: () => string,
  credentials: () => RoleCredentials,
): Promise<ContainerAgent> {
  const authorizations: string[] = []
  const { url, close } = await startLoopback(({ headers }) => {
    const authorization = headers.authorization ?? ''
    authorizations.push(authorization)
    if (authorization !== token()) return { status: 401, body: { Code: 'AccessDenied' } }
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = credentials()
    return {
      body: {
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        Token: sessionToken,
        Expiration: expiration.toISOString(),
      },
    }
  })
  return { url: `${url}/v1/credentials`, authorizations, close }
}

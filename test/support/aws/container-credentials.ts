/**
 * An emulation of the agent that provides a container's credentials, like those of EKS Pod Identity and ECS: on loopback, for a token
 * in a file.
 */
import { startLoopback } from '../issuers/loopback-server.js'
import type { RoleCredentials } from './sts.js'

export interface ContainerAgent {
  /** The value of AWS_CONTAINER_CREDENTIALS_FULL_URI. */
  readonly url: string
  /** The tokens of the requests. */
  readonly authorizations: readonly string[]
  close(): Promise<void>
}

/** Starts it. It returns credentials for `token` only. */
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

/** AWS credentials that a gateway gives out, kept out of everything that prints objects. */
import { inspect } from 'node:util'

/**
 * Credentials that the gateway accepts, usable wherever the AWS SDK takes credentials. The secret parts are readable but
 * hidden: they do not appear in `util.inspect`, in JSON, or in a copy made with the spread operator.
 */
export interface GatewayCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

/** Temporary credentials, such as STS gives. */
export interface TemporaryCredentials extends GatewayCredentials {
  readonly sessionToken: string
  readonly expiration: Date
}

export interface PlainCredentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken: string | undefined
  expiresAt: number | undefined
}

export function hiddenCredentials(plain: PlainCredentials): GatewayCredentials {
  const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = plain
  const visible = {
    accessKeyId,
    ...(expiresAt === undefined ? {} : { expiration: new Date(expiresAt) }),
  }
  // Getters, because `util.inspect` with `showHidden` prints the values of non-enumerable properties. Not frozen, because
  // the SDK marks the credentials that it is given with a property of its own.
  return Object.defineProperties(visible, {
    secretAccessKey: { get: () => secretAccessKey },
    ...(sessionToken === undefined ? {} : { sessionToken: { get: () => sessionToken } }),
    [inspect.custom]: { value: () => `GatewayCredentials { ${accessKeyId} }` },
  }) as GatewayCredentials
}

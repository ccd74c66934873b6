/** The keys of a JSON Web Token issuer. They can be rotated, and removed from the published set. */
import { randomUUID } from 'node:crypto'
import {
  SignJWT,
  exportJWK,
  generateKeyPair,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from 'jose'

export interface SigningKeys {
  /** The ID of the current signing key. */
  current(): string
  /** The published keys, as a new JSON object. */
  published(): { keys: JWK[] }
  /** Signs with a new key from now on; the others remain published. Resolves with its ID. */
  rotate(): Promise<string>
  /** Removes a key from the published set. It can still sign, like a stolen one. */
  revoke(keyId: string): void
  /** Signs any claims. */
  sign(claims: JWTPayload, options?: SigningOptions): Promise<string>
}

export interface SigningOptions {
  /** Default: the current key. */
  keyId?: string
  /** Additional or replaced fields of the token's header. */
  header?: Readonly<Record<string, unknown>>
}

/** Generates keys, by default like those of Microsoft Entra ID: RSA, 2,048 bits. */
export async function createSigningKeys(algorithm = 'RS256'): Promise<SigningKeys> {
  const privateKeys = new Map<string, CryptoKey>()
  const published = new Map<string, JWK>()
  let current = ''
  const rotate = async (): Promise<string> => {
    const { publicKey, privateKey } = await generateKeyPair(algorithm)
    current = randomUUID()
    privateKeys.set(current, privateKey)
    published.set(current, { ...(await exportJWK(publicKey)), kid: current, use: 'sig' })
    return current
  }
  await rotate()
  return {
    current: () => current,
    published: () => structuredClone({ keys: [...published.values()] }),
    rotate,
    revoke(keyId) {
      if (!published.delete(keyId)) throw new Error('the key is not published')
    },
    sign(claims, { keyId = current, header = {} } = {}) {
      const key = privateKeys.get(keyId)
      if (key === undefined) throw new Error('the key does not exist')
      return new SignJWT(claims)
        .setProtectedHeader({ alg: algorithm, typ: 'JWT', kid: keyId, ...header })
        .sign(key)
    },
  }
}

/** The keys of an issuer of JSON Web Tokens: they can be rotated, and taken out of its published set. */
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
  /** The ID of the key that signs. */
  current(): string
  /** What the issuer publishes, as JSON that belongs to the caller. */
  published(): { keys: JWK[] }
  /** Signs with a new key from now on; the others stay published. Resolves with its ID. */
  rotate(): Promise<string>
  /** Takes a key out of what is published. It can still sign, as a stolen one can. */
  revoke(keyId: string): void
  /** Signs whatever claims it is given. */
  sign(claims: JWTPayload, options?: SigningOptions): Promise<string>
}

export interface SigningOptions {
  /** Default: the current key. */
  keyId?: string
  /** What the token's header says beside, or instead of, the usual. */
  header?: Readonly<Record<string, unknown>>
}

const ALGORITHM = 'RS256'

/** Makes keys as those of Microsoft Entra ID: RSA, 2,048 bits. */
export async function createSigningKeys(): Promise<SigningKeys> {
  const privateKeys = new Map<string, CryptoKey>()
  const published = new Map<string, JWK>()
  let current = ''
  const rotate = async (): Promise<string> => {
    const { publicKey, privateKey } = await generateKeyPair(ALGORITHM)
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
      if (!published.delete(keyId)) throw new Error('no such key is published')
    },
    sign(claims, { keyId = current, header = {} } = {}) {
      const key = privateKeys.get(keyId)
      if (key === undefined) throw new Error('no such key was made')
      return new SignJWT(claims)
        .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT', kid: keyId, ...header })
        .sign(key)
    },
  }
}

/** The gateway as its own issuer of tokens, where it is told of no other: for development without Azure. */
import type { CryptoKey } from 'jose'
import type { AzureTokenCredential } from '../../../core/providers/entra/credential.js'
import { loadJose } from './load-jose.js'
import type { PublishedKeySet } from './published-keys.js'

export interface OwnIssuer {
  readonly keys: () => Promise<PublishedKeySet>
  /** Gives tokens of the one principal that it was made for. */
  readonly credential: AzureTokenCredential
}

export interface OwnIssuerSettings {
  tenantId: string
  issuer: string
  /** The object ID of the principal. */
  objectId: string
  /** Epoch milliseconds. */
  clock: () => number
}

/** The key is made with the first token, and is never anywhere but in memory. */
export function createOwnIssuer({
  tenantId,
  issuer,
  objectId,
  clock,
}: OwnIssuerSettings): OwnIssuer {
  let pair: Promise<KeyPair> | undefined
  const keyPair = (): Promise<KeyPair> => (pair ??= makeKeyPair())
  return {
    keys: async () => (await keyPair()).published,
    credential: {
      async getToken(scopes) {
        const [{ SignJWT }, { privateKey }] = await Promise.all([loadJose(), keyPair()])
        const scope = typeof scopes === 'string' ? scopes : (scopes[0] ?? '')
        const issuedAt = Math.floor(clock() / 1_000)
        const expiresAt = issuedAt + LIFE_SECS
        const token = await new SignJWT({ oid: objectId, sub: objectId, tid: tenantId, ver: '1.0' })
          .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: KEY_ID })
          .setIssuer(issuer)
          .setAudience(scope.replace(/\/\.default$/, ''))
          .setIssuedAt(issuedAt)
          .setNotBefore(issuedAt)
          .setExpirationTime(expiresAt)
          .sign(privateKey)
        return { token, expiresOnTimestamp: expiresAt * 1_000 }
      },
    },
  }
}

interface KeyPair {
  readonly privateKey: CryptoKey
  readonly published: PublishedKeySet
}

const LIFE_SECS = 3_600
const KEY_ID = 'gateway'

async function makeKeyPair(): Promise<KeyPair> {
  const { exportJWK, generateKeyPair } = await loadJose()
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const key = { ...(await exportJWK(publicKey)), kid: KEY_ID, use: 'sig', alg: 'RS256' }
  return { privateKey, published: { keys: [key] } }
}

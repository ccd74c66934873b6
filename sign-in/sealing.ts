/** Encryption of what leaves the process: sessions in a store, and sign-in attempts in a cookie. */
import { createHash, hkdfSync } from 'node:crypto'
import { loadJose } from '../core/load-jose.js'
import { type Check, invalidOption, invalidSecret } from '../core/options/check.js'

/** Encrypts and decrypts values with the application's keys. */
export interface Sealer {
  /** @param purpose what the value is for: it can only be opened for the same purpose */
  seal(purpose: string, value: object): Promise<string>
  /** Resolves with `undefined` if the text was changed, is for another purpose, or was encrypted with another key. */
  open(purpose: string, text: string): Promise<unknown>
}

/** Encrypts with the first key, and decrypts with any of them, so that keys can be rotated: JWE, `dir` with A256GCM. */
export function createSealer(keys: readonly string[]): Sealer {
  const derived = keys.map((key) => {
    const secret = new Uint8Array(hkdfSync('sha256', key, '', 'pg-iam sign-in', 32))
    return { secret, id: createHash('sha256').update(secret).digest('base64url').slice(0, 8) }
  })
  return {
    async seal(purpose, value) {
      const { CompactEncrypt } = await loadJose()
      const { secret, id } = derived[0]!
      const plain = new TextEncoder().encode(JSON.stringify({ purpose, value }))
      return new CompactEncrypt(plain)
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: id })
        .encrypt(secret)
    },
    async open(purpose, text) {
      const { compactDecrypt, decodeProtectedHeader } = await loadJose()
      try {
        const { kid } = decodeProtectedHeader(text)
        const key = derived.find(({ id }) => id === kid)
        if (key === undefined) return undefined
        const { plaintext } = await compactDecrypt(text, key.secret, {
          keyManagementAlgorithms: ['dir'],
          contentEncryptionAlgorithms: ['A256GCM'],
        })
        const opened = JSON.parse(new TextDecoder().decode(plaintext)) as {
          purpose: string
          value: unknown
        }
        return opened.purpose === purpose ? opened.value : undefined
      } catch {
        return undefined
      }
    },
  }
}

/** The option `keys`: texts of at least 32 characters, the current one first. */
export const sealingKeys: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidSecret(name, 'an array of at least one key', value)
  return value.map((key: unknown, index) => {
    if (typeof key !== 'string' || key.length < 32) {
      throw invalidSecret(
        `${name}[${index}]`,
        'a random text of at least 32 characters, such as "openssl rand -base64 32" prints',
        key,
      )
    }
    if (value.indexOf(key) !== index)
      throw invalidOption(`${name}[${index}]`, 'another key than those before it', 'the same key')
    return key
  })
}

/** SHA-256 as the AWS SDK's signers take it. */
import { createHmac, hash } from 'node:crypto'

type Secret = string | ArrayBuffer | ArrayBufferView

/** The SDK's `Checksum`. */
export interface SigningHash {
  update(chunk: Uint8Array): void
  digest(): Promise<Uint8Array>
  reset(): void
}

/**
 * Returns a class for the `sha256` option of a signer.
 *
 * The SDK (`@smithy/signature-v4` 5.7) names the signing key in its cache by the HMAC of the access key ID, which it computes for
 * each token, and its own class makes, copies and keeps hash objects that are used once. Both together are more than all that
 * pg-iam does about a token besides. So the last HMAC with a text for its key is kept, which is this one, and hashing is one call.
 */
export function createSigningHash(): new (secret?: Secret) => SigningHash {
  let last: { secret: string; data: Uint8Array; digest: Uint8Array } | undefined

  const authenticate = (secret: Secret, data: Uint8Array): Uint8Array => {
    if (secret === last?.secret && Buffer.compare(data, last.data) === 0) return last.digest
    const digest = createHmac('sha256', keyOf(secret)).update(data).digest()
    if (typeof secret === 'string') last = { secret, data: new Uint8Array(data), digest }
    return digest
  }
  return class implements SigningHash {
    readonly #secret: Secret | undefined
    #data: Uint8Array = NOTHING

    constructor(secret?: Secret) {
      this.#secret = secret
    }

    update(chunk: Uint8Array): void {
      this.#data = this.#data.length === 0 ? chunk : Buffer.concat([this.#data, chunk])
    }

    async digest(): Promise<Uint8Array> {
      if (this.#secret === undefined) return hash('sha256', this.#data, 'buffer')
      return authenticate(this.#secret, this.#data)
    }

    reset(): void {
      this.#data = NOTHING
    }
  }
}

const NOTHING = new Uint8Array()

function keyOf(secret: Secret): string | NodeJS.ArrayBufferView {
  return secret instanceof ArrayBuffer
    ? new Uint8Array(secret)
    : (secret as string | NodeJS.ArrayBufferView)
}

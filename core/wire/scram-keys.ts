/** What both sides of SCRAM-SHA-256 (RFC 5802 and 7677) compute. */
import { createHash, createHmac, pbkdf2 } from 'node:crypto'

export interface ScramKeys {
  /** Known to the client alone. */
  readonly clientKey: Buffer
  /** What a server keeps to check the client's proof. */
  readonly storedKey: Buffer
  /** What a server keeps to prove itself. */
  readonly serverKey: Buffer
}

export async function scramKeys(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  // SASLprep is this and a list of forbidden characters, which PostgreSQL does without where it finds one.
  const text = password.normalize('NFKC')
  // Not by `promisify`: in an ES module, to import `node:util` loads all that it exports.
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(text, salt, iterations, 32, 'sha256', (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
  const clientKey = scramHmac(salted, 'Client Key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: scramHmac(salted, 'Server Key') }
}

/** The attributes of a SCRAM message by their letters. */
export function scramAttributes(message: string): Record<string, string | undefined> {
  return Object.fromEntries(message.split(',').map((part) => [part[0] ?? '', part.slice(2)]))
}

/** The proof from a key and a signature, or the key from a proof and a signature. */
export function exclusiveOr(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!))
}

export function scramHmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

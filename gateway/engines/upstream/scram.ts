/** The client's side of SCRAM-SHA-256 (RFC 5802 and 7677), as PostgreSQL speaks it. */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

export interface ScramExchange {
  readonly clientFirst: string
  /** Answers the server's first message; throws when that does not belong to this exchange. */
  clientFinal(serverFirst: string): Promise<string>
  /** Throws unless the server has shown that it knows the password, too. */
  verify(serverFinal: string): void
}

/** @param nonce random text without commas, a new one for each exchange */
export function createScramExchange(
  password: string,
  nonce: string = randomBytes(18).toString('base64'),
): ScramExchange {
  // The user name is left empty: PostgreSQL takes the one of the startup packet.
  const clientFirstBare = `n=,r=${nonce}`
  let serverSignature: Buffer | undefined
  return {
    clientFirst: `n,,${clientFirstBare}`,
    async clientFinal(serverFirst) {
      const { r: serverNonce = '', s: salt = '', i: rounds = '' } = attributes(serverFirst)
      const iterations = Number(rounds)
      if (!serverNonce.startsWith(nonce) || serverNonce === nonce || salt === '')
        throw new Error('the server answered another SCRAM exchange')
      if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
        throw new Error('the server asked for an impossible number of SCRAM iterations')
      const salted = await promisify(pbkdf2)(
        password.normalize('NFKC'),
        Buffer.from(salt, 'base64'),
        iterations,
        32,
        'sha256',
      )
      const withoutProof = `c=biws,r=${serverNonce}`
      const authMessage = `${clientFirstBare},${serverFirst},${withoutProof}`
      const clientKey = hmac(salted, 'Client Key')
      const storedKey = createHash('sha256').update(clientKey).digest()
      const signature = hmac(storedKey, authMessage)
      const proof = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]!))
      serverSignature = hmac(hmac(salted, 'Server Key'), authMessage)
      return `${withoutProof},p=${proof.toString('base64')}`
    },
    verify(serverFinal) {
      const given = Buffer.from(attributes(serverFinal)['v'] ?? '', 'base64')
      const proven =
        serverSignature?.length === given.length && timingSafeEqual(serverSignature, given)
      if (!proven) throw new Error('the server could not show that it knows the password')
    },
  }
}

/** PostgreSQL's default is 4,096; a hostile server could ask for hours of work. */
const MAX_ITERATIONS = 10_000_000

function attributes(message: string): Record<string, string | undefined> {
  return Object.fromEntries(message.split(',').map((part) => [part[0] ?? '', part.slice(2)]))
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

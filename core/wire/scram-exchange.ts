/** The client's side of SCRAM-SHA-256 (RFC 5802 and 7677), as PostgreSQL speaks it. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { exclusiveOr, scramAttributes, scramHmac, scramKeys } from './scram-keys.js'

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
      const { r: serverNonce = '', s: salt = '', i: rounds = '' } = scramAttributes(serverFirst)
      const iterations = Number(rounds)
      if (!serverNonce.startsWith(nonce) || serverNonce === nonce || salt === '')
        throw new Error('the server answered another SCRAM exchange')
      if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
        throw new Error(
          `the server asked for ${rounds || 'no'} SCRAM iterations, at most ${MAX_ITERATIONS} are allowed`,
        )
      const keys = await scramKeys(password, Buffer.from(salt, 'base64'), iterations)
      const withoutProof = `c=biws,r=${serverNonce}`
      const authMessage = `${clientFirstBare},${serverFirst},${withoutProof}`
      const proof = exclusiveOr(keys.clientKey, scramHmac(keys.storedKey, authMessage))
      serverSignature = scramHmac(keys.serverKey, authMessage)
      return `${withoutProof},p=${proof.toString('base64')}`
    },
    verify(serverFinal) {
      const given = Buffer.from(scramAttributes(serverFinal)['v'] ?? '', 'base64')
      const proven =
        serverSignature?.length === given.length && timingSafeEqual(serverSignature, given)
      if (!proven) throw new Error('the server could not show that it knows the password')
    },
  }
}

/**
 * PostgreSQL's default is 4,096. Each iteration costs a thread of Node's pool about half a microsecond, and a hostile server could ask
 * for hours. pg (8.23) has the same limit.
 */
const MAX_ITERATIONS = 100_000

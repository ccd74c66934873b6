/** Logins with a salted MD5 hash: PostgreSQL's method before SCRAM, and Redshift's. The client never sends its password. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { authenticationMd5Password } from '../../wire/messages.js'
import { sha256 } from '../../wire/scram.js'
import { type LoginMethod, type LoginRequest, passwordIn, type Verdict } from './verifier.js'

/**
 * Requests a salted MD5 hash and passes it to `decide`, as a function that returns whether the hash is that of a password, or of its
 * stored form `md5...`.
 */
export function md5Answered(
  decide: (
    request: LoginRequest,
    isFrom: (password: string) => boolean,
  ) => Verdict | Promise<Verdict>,
): LoginMethod {
  return {
    async authenticate(request, client) {
      const salt = randomBytes(4)
      const given = passwordIn(await client.ask(authenticationMd5Password(salt)))
      if (typeof given !== 'string') return given
      return decide(request, (password) =>
        isSameText(md5Answer(password, request.role, salt), given),
      )
    },
  }
}

/** PostgreSQL's stored form: see https://www.postgresql.org/docs/current/catalog-pg-authid.html */
export const STORED_MD5: RegExp = /^md5[0-9a-f]{32}$/

/** See "MD5 password" in https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP */
function md5Answer(password: string, role: string, salt: Buffer): string {
  const hash = STORED_MD5.test(password) ? password : md5Hash(password, role)
  return `md5${md5(Buffer.concat([Buffer.from(hash.slice(3)), salt]))}`
}

/** The stored form of a password. */
export function md5Hash(password: string, role: string): string {
  return `md5${md5(Buffer.from(password + role))}`
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex')
}

/** Compares in a time that depends neither on the position of a difference nor on the lengths. */
export function isSameText(expected: string, given: string): boolean {
  return timingSafeEqual(sha256(Buffer.from(expected)), sha256(Buffer.from(given)))
}

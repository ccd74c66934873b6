/** The passwords of an endpoint, and what is said of wrong ones. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { sha256 } from '../../../core/wire/scram-keys.js'
import { fatal } from '../refusal.js'
import { checkFailed, denied, type Denied } from '../verifier.js'

/** Gives the password of a role, or `undefined` for a role that has none. */
export type PasswordLookup = (role: string) => string | undefined | PromiseLike<string | undefined>

/** The password of one role, and whether there is one. */
export interface Expected {
  /** Made up where there is none, so that all roles cost a client the same time. */
  readonly password: string
  readonly isKnown: boolean
}

/** Returns a refusal where the look-up itself fails. */
export async function expectedPassword(
  lookUp: PasswordLookup,
  role: string,
): Promise<Expected | Denied> {
  let password: unknown
  try {
    password = await lookUp(role)
  } catch (error) {
    return checkFailed(error)
  }
  // A clear-text password is a text of at least one character in PostgreSQL's protocol.
  if (typeof password === 'string' && password !== '') return { password, isKnown: true }
  return { password: randomBytes(32).toString('base64'), isKnown: false }
}

/** The verdict on a wrong password, or on any password of a role that has none: the client cannot tell which. */
export function wrongPassword(role: string, { isKnown }: Expected): Denied {
  const told = fatal('28P01', `password authentication failed for user "${role}"`)
  return isKnown
    ? denied('password-wrong', 'the password is not that of the role', told)
    : denied('password-unknown', 'the role has no password at this endpoint', told)
}

/** Compares in a time that does not depend on where the texts differ, or on how long they are. */
export function isSameText(expected: string, given: string): boolean {
  return timingSafeEqual(sha256(Buffer.from(expected)), sha256(Buffer.from(given)))
}

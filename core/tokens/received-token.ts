/** Checks what an issuer sent as a token. Nothing of it is shown, whatever it is. */
import { isDate } from 'node:util/types'
import { PgIamError } from '../errors.js'
import { isText } from '../options/check.js'
import { describeKind } from '../redact.js'
import { createToken, type Token } from './token.js'

export interface Received {
  value: unknown
  expiresAt: unknown
  /** `undefined` where the token does not name it. */
  user?: unknown
}

/** How the parts are called in messages, such as `DbPassword`. */
export type PartNames = Readonly<Record<keyof Received, string>>

/**
 * Makes a token of it, or throws `ERR_TOKEN_INVALID`.
 *
 * @param what what came, such as `redshift: the password for HOST`
 */
export function receivedToken(
  { value, expiresAt, user }: Received,
  what: string,
  names: PartNames,
): Token {
  if (!isText(value)) throw invalidToken(what, names.value, TEXT, value)
  if (!isDate(expiresAt) || Number.isNaN(expiresAt.getTime()))
    throw invalidToken(what, names.expiresAt, 'a valid Date', expiresAt)
  if (user !== undefined && !isText(user)) throw invalidToken(what, names.user, TEXT, user)
  return createToken(value, expiresAt, user)
}

export function invalidToken(
  what: string,
  part: string,
  expected: string,
  got: unknown,
): PgIamError {
  return new PgIamError(
    'ERR_TOKEN_INVALID',
    `${what} came with a "${part}" that must be ${expected}, got ${describeKind(got)}`,
  )
}

const TEXT = 'a non-empty string without control characters'

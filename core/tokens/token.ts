/** A token: the short-lived string sent as the PostgreSQL password. */
import { inspect } from 'node:util'

/**
 * The short-lived password of one physical connection. `value` is readable but hidden: it does not appear in
 * `util.inspect`, in JSON, or in a copy made with the spread operator.
 */
export interface Token {
  readonly value: string
  /** When the database stops accepting it for new connections; a connection that is open stays open. */
  readonly expiresAt: Date
  /** The database user, where the issuer names it (Redshift, Entra ID). */
  readonly user?: string
}

/** Makes a token whose value is hidden from everything that prints objects. */
export function createToken(value: string, expiresAt: Date, user?: string): Token {
  const end = expiresAt.getTime()
  const token: { expiresAt: Date; user?: string } = {
    // A Date can be changed even in a frozen object, and a token may be shared.
    get expiresAt() {
      return new Date(end)
    },
  }
  if (user !== undefined) token.user = user
  Object.defineProperties(token, {
    // A getter, because `util.inspect` with `showHidden` prints the values of non-enumerable properties.
    value: { get: () => value, enumerable: false },
    [inspect.custom]: {
      value: () =>
        `Token { expires ${Number.isNaN(end) ? 'at an unknown time' : token.expiresAt.toISOString()} }`,
      enumerable: false,
    },
  })
  return Object.freeze(token) as Token
}

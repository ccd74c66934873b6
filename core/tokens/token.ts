/** A token: the short-lived string sent as the PostgreSQL password. */

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
  return Object.freeze(new IssuedToken(value, expiresAt.getTime(), user))
}

/**
 * What `util.inspect` asks for: `util.inspect.custom`. In an ES module `import` of `node:util` reads everything that it exports, and
 * from Node 22 on that loads `node:net` and `node:worker_threads`.
 */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom')

/** Getters of a class are nowhere printed and copied, private fields neither; and a token is made for each connection. */
class IssuedToken implements Token {
  readonly #value: string
  readonly #end: number
  // Declared only: as a field it would be an own property where there is no user.
  declare readonly user?: string

  constructor(value: string, end: number, user: string | undefined) {
    this.#value = value
    this.#end = end
    if (user !== undefined) this.user = user
  }

  get value(): string {
    return this.#value
  }

  /** A Date can be changed even in a frozen object, and a token may be shared. */
  get expiresAt(): Date {
    return new Date(this.#end)
  }

  toJSON(): object {
    // JSON leaves a user out that is undefined.
    return { expiresAt: this.expiresAt, user: this.user }
  }

  [INSPECT](): string {
    return `Token { expires ${Number.isNaN(this.#end) ? 'at an unknown time' : this.expiresAt.toISOString()} }`
  }
}

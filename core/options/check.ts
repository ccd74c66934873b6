/** Option checks. Each error names the option, the expected value, and the given value. */
import { PgIamError } from '../errors.js'

/** Converts an option's value to the value to use, or throws `ERR_OPTION_INVALID`. */
export type Check<T> = (value: unknown, name: string) => T

/** The checks of an options object, by key. */
type Checks = Readonly<Record<string, Check<unknown>>>

/** An options object that passed its checks. */
export type Checked<C extends Checks> = { [K in keyof C]?: C[K] extends Check<infer T> ? T : never }

/**
 * Checks an options object. Each key is read once. Keys with the value `undefined` count as absent. Unknown keys are rejected, with the
 * nearest known name in the hint.
 *
 * @param prefix prepended to keys in messages, such as `tls.`
 * @param hints the hints for unknown keys that users confuse with known ones
 */
export function checkOptions<C extends Checks>(
  given: unknown,
  checks: C,
  prefix = '',
  hints: Readonly<Record<string, string>> = {},
): Checked<C> {
  const owner = prefix === '' ? 'options' : prefix.slice(0, -1)
  if (!isPlainObject(given)) throw invalidOption(owner, 'an object', given)
  const checked: Record<string, unknown> = {}
  for (const key of Object.keys(given)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined
    if (check === undefined)
      throw unknownOption(`${prefix}${key}`, Object.keys(checks), prefix, hints)
    const value = given[key]
    if (value !== undefined) checked[key] = check(value, `${prefix}${key}`)
  }
  return checked as Checked<C>
}

/**
 * Checks that `client` has the methods that the function uses, so that copies and proxies of a client are accepted.
 *
 * @param members the names of its methods
 * @param what such as `a Pool of pg, such as createPool() returns`
 * @throws PgIamError `ERR_OPTION_INVALID`
 */
export function checkClient(
  client: unknown,
  name: string,
  members: readonly string[],
  what: string,
): void {
  const isObject = (typeof client === 'object' && client !== null) || typeof client === 'function'
  const has = (member: string): boolean =>
    typeof (client as Record<string, unknown>)[member] === 'function'
  if (!isObject || !members.every(has)) throw invalidOption(name, what, client)
}

/** The error for an option whose value is invalid. */
export function invalidOption(
  name: string,
  expected: string,
  got: unknown,
  hint?: string,
): PgIamError {
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" must be ${expected}, got ${describeValue(got)}`,
    hint === undefined ? {} : { hint },
  )
}

/** The error for a secret option whose value is invalid. It does not show any part of the value. */
export function invalidSecret(name: string, expected: string, got: unknown): PgIamError {
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" must be ${expected}, got ${describeKind(got)}`,
  )
}

/**
 * The error for an unknown option. The hint has the nearest known name.
 *
 * @param hints instead, for names that users confuse with known options
 */
export function unknownOption(
  name: string,
  known: readonly string[],
  prefix = '',
  hints: Readonly<Record<string, string>> = {},
): PgIamError {
  const own = name.slice(prefix.length)
  if (Object.hasOwn(hints, own))
    return new PgIamError('ERR_OPTION_INVALID', `"${name}" is not a known option`, {
      hint: hints[own]!,
    })
  const nearest = nearestName(own, known)
  return new PgIamError('ERR_OPTION_INVALID', `"${name}" is not a known option`, {
    hint:
      nearest === undefined
        ? `Known options: ${known.join(', ')}.`
        : `Did you mean "${prefix}${nearest}"?`,
  })
}

/** A non-empty string without control characters: a NUL or line break in a name would break the wire protocol. */
export const text: Check<string> = (value, name) => {
  if (!isText(value)) throw invalidOption(name, TEXT, value)
  return value
}

/** The same for a secret, such as a key that was read with its trailing line break. */
export const secretText: Check<string> = (value, name) => {
  if (!isText(value)) throw invalidSecret(name, TEXT, value)
  return value
}

/** A string that matches a pattern. */
export function matching(pattern: RegExp, expected: string): Check<string> {
  return (value, name) => {
    if (typeof value !== 'string' || !pattern.test(value))
      throw invalidOption(name, expected, value)
    return value
  }
}

/** A host name or an IP address, without scheme, port or path. Returned in lower case and without a final dot. */
export const hostName: Check<string> = (value, name) => {
  const expected = 'a host name without scheme, port or path'
  if (typeof value === 'string' && value.startsWith('/'))
    throw invalidOption(name, expected, value, NO_SOCKETS)
  const isHost =
    typeof value === 'string' &&
    value.length <= 253 &&
    (/^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?$/i.test(value) || isIpAddress(value))
  if (!isHost || value.includes('..')) throw invalidOption(name, expected, value)
  return value.toLowerCase().replace(/\.$/, '')
}

const NO_SOCKETS =
  'Give the host name of the database: a token is only sent over TLS, which Unix-domain sockets do not support.'

/** A TCP port: a number, or a string of digits, since environment variables are strings. */
export const port: Check<number> = (value, name) => {
  const number = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  if (!Number.isInteger(number) || (number as number) < 1 || (number as number) > 65_535) {
    throw invalidOption(name, 'an integer from 1 to 65535', value)
  }
  return number as number
}

/** One value, or a list with at least one. Returned as a list. */
export function oneOrMore<T>(check: Check<T>): Check<NonEmpty<T>> {
  return (value, name) => {
    if (!Array.isArray(value)) return [check(value, name)]
    const values = value.map((each, index) => check(each, `${name}[${index}]`))
    const [first, ...others] = values
    if (first === undefined) throw invalidOption(name, 'a list with at least one value', value)
    return [first, ...others]
  }
}

/**
 * A number in a closed range.
 *
 * @param unit for messages, such as `milliseconds`
 */
export function numberWithin(least: number, most: number, unit?: string): Check<number> {
  return (value, name) => {
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw invalidOption(name, `a number${of(unit)} from ${least} to ${most}`, value)
    }
    return value
  }
}

/** The same for an integer. */
export function integerWithin(least: number, most: number, unit?: string): Check<number> {
  return (value, name) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      throw invalidOption(name, `an integer${of(unit)} from ${least} to ${most}`, value)
    }
    return value as number
  }
}

function of(unit: string | undefined): string {
  return unit === undefined ? '' : ` of ${unit}`
}

/** One of several strings. */
export function oneOf<const T extends string>(...choices: readonly T[]): Check<T> {
  return (value, name) => {
    if (!choices.includes(value as T)) {
      throw invalidOption(name, choices.map((choice) => `"${choice}"`).join(' or '), value)
    }
    return value as T
  }
}

export const boolean: Check<boolean> = (value, name) => {
  if (typeof value !== 'boolean') throw invalidOption(name, 'true or false', value)
  return value
}

/** A function. */
export function functionOf<T>(): Check<T> {
  return (value, name) => {
    if (typeof value !== 'function') throw invalidOption(name, 'a function', value)
    return value as T
  }
}

/**
 * Whether a value can be an options object: a plain object, a class instance, or a module namespace. A Map, a Date or a promise has no own
 * keys and would pass as empty options.
 */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  const tag = Object.prototype.toString.call(value)
  return tag === '[object Object]' || tag === '[object Module]'
}

const TEXT = 'a non-empty string without control characters'

/** Whether a value is a non-empty string without control characters. */
export function isText(value: unknown): value is string {
  // oxlint-disable-next-line no-control-regex
  return typeof value === 'string' && value !== '' && !/[\u0000-\u001f\u007f]/.test(value)
}

// The suggestion for "Did you mean".

/** The known name closest to `name`, or `undefined` if none is close enough. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const furthest = Math.max(1, Math.floor(name.length / 3))
  let nearest: string | undefined
  let least = furthest + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      least = distance
      nearest = candidate
    }
  }
  return nearest
}

/** The number of insertions, deletions, replacements and swaps of adjacent characters between two words. */
function editDistance(from: string, to: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1)
      const areSwapped =
        row > 1 &&
        column > 1 &&
        from[row - 1] === to[column - 2] &&
        from[row - 2] === to[column - 1]
      const swapped = areSwapped ? beforePrevious[column - 2]! + 1 : Infinity
      current.push(Math.min(replaced, swapped, previous[column]! + 1, current[column - 1]! + 1))
    }
    beforePrevious = previous
    previous = current
  }
  return previous[to.length]!
}

// IP addresses.

/**
 * Whether a host is an IPv4 or IPv6 address.
 *
 * `node:net` is only loaded for strings that look like an address. Loading takes milliseconds while a process starts, and the first call of
 * `isIP` with a name takes five more.
 */
export function isIpAddress(host: string): boolean {
  return LOOKS_LIKE_ADDRESS.test(host) && process.getBuiltinModule('node:net').isIP(host) !== 0
}

const LOOKS_LIKE_ADDRESS = /^[\d.]+$|:/

// URLs of token issuers and APIs.

/** Plain HTTP is accepted on this machine only, because its responses can be forged. */
export function isSecureUrl(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname))
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/

/** The URL of an issuer or an API. */
export const secureUrl: Check<string> = (value, name) => {
  if (typeof value === 'string' && isSecureUrl(value)) return value
  throw invalidOption(name, 'an https URL, or an http URL on this machine', value)
}

// Lists with at least one value.

export type NonEmpty<T> = readonly [T, ...T[]]

/** `list.map(change)`, but typed to keep the first element. */
export function mapNonEmpty<T, U>(
  list: NonEmpty<T>,
  change: (value: T, index: number) => U,
): NonEmpty<U> {
  const [first, ...others] = list
  return [change(first, 0), ...others.map((value, index) => change(value, index + 1))]
}

/**
 * `T`, inferred only from an explicit type argument. TypeScript would otherwise infer it from the given object, with every mistyped option,
 * or from the expected result type, which the object may not have.
 *
 * TypeScript has `NoInfer` for this since 5.4, but older versions must be able to read these types.
 */
export type Explicit<T> = [T][T extends unknown ? 0 : never]

// Values in error messages: short, on one line, and without secrets.

/**
 * Renders a value for an error message. Strings are quoted; one of more than 60 characters is described by its length. A value that may be
 * a token, a key or a URL with a password is described, not shown.
 */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return describeText(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : 'a Date'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}

/** Renders only the type of a value, for options whose every value may be a secret. */
export function describeKind(value: unknown): string {
  if (value === '') return 'an empty string'
  if (typeof value === 'string') return `a string of ${value.length} characters`
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return `a ${typeof value}`
  return describeValue(value)
}

const LONGEST_SHOWN = 60

function describeText(value: string): string {
  if (value.length > LONGEST_SHOWN) return describeKind(value)
  if (SECRET_SHAPES.some((shape) => shape.test(value))) return 'a string that may hold a secret'
  return JSON.stringify(value)
}

const SECRET_SHAPES = [
  /X-Amz-(Signature|Security-Token|Credential)/i,
  /^eyJ[\w-]+\./, // a JSON Web Token
  /:.*@/s, // a URL with a password, even with unencoded characters
  /password\s*=/i, // the key=value form of libpq
  /[A-Za-z0-9/+]{40}/, // an AWS secret access key
  /PRIVATE KEY/,
]

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The value of a variable. An empty variable counts as unset, as in libpq. */
export function presentIn(env: Environment, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name]
}

/** A copy without the properties whose value is `undefined`: they count as absent. */
export function withoutUndefined<T extends object>(
  options: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as never
}

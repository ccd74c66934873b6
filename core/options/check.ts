/** Checks of options as they are given: every refusal names the option, what it must be, and what came. */
import { PgIamError } from '../errors.js'

/** Turns one given value into the value that is kept, or throws `ERR_OPTION_INVALID`. */
export type Check<T> = (value: unknown, name: string) => T

/** The checks of one options object, by key. */
type Checks = Readonly<Record<string, Check<unknown>>>

/** What an options object holds once it passed its checks. */
export type Checked<C extends Checks> = { [K in keyof C]?: C[K] extends Check<infer T> ? T : never }

/**
 * Checks a whole options object, reading each key once. Keys that hold `undefined` count as not given, unknown keys are
 * refused with the nearest known name.
 *
 * @param prefix what stands before the key in messages, such as `tls.`
 */
export function checkOptions<C extends Checks>(given: unknown, checks: C, prefix = ''): Checked<C> {
  const owner = prefix === '' ? 'options' : prefix.slice(0, -1)
  if (!isPlainObject(given)) throw invalidOption(owner, 'an object', given)
  const checked: Record<string, unknown> = {}
  for (const key of Object.keys(given)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined
    if (check === undefined) throw unknownOption(`${prefix}${key}`, Object.keys(checks), prefix)
    const value = given[key]
    if (value !== undefined) checked[key] = check(value, `${prefix}${key}`)
  }
  return checked as Checked<C>
}

/** The error for a value that an option cannot take. */
/**
 * Checks the client that a function was given, by what the function uses of it: copies and proxies of a client are taken as well.
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

/** The same for an option that is a secret: what came is not shown, not even the part that was wrong with it. */
export function invalidSecret(name: string, expected: string, got: unknown): PgIamError {
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" must be ${expected}, got ${describeKind(got)}`,
  )
}

/** The error for an option that does not exist, with the nearest one that does. */
export function unknownOption(name: string, known: readonly string[], prefix = ''): PgIamError {
  const nearest = nearestName(name.slice(prefix.length), known)
  return new PgIamError('ERR_OPTION_INVALID', `"${name}" is not a known option`, {
    hint:
      nearest === undefined
        ? `Known are: ${known.join(', ')}.`
        : `Did you mean "${prefix}${nearest}"?`,
  })
}

/** A non-empty string without control characters: a NUL or line break in a name would break the wire protocol. */
export const text: Check<string> = (value, name) => {
  if (!isText(value)) throw invalidOption(name, TEXT, value)
  return value
}

/** The same for a secret, such as a key that was read together with the line break behind it. */
export const secretText: Check<string> = (value, name) => {
  if (!isText(value)) throw invalidSecret(name, TEXT, value)
  return value
}

/** A string of a given form. */
export function matching(pattern: RegExp, expected: string): Check<string> {
  return (value, name) => {
    if (typeof value !== 'string' || !pattern.test(value))
      throw invalidOption(name, expected, value)
    return value
  }
}

/** A host name or an IP address, without scheme, port or path; kept in lower case and without a final dot. */
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
  'A token is only sent over TLS, and a Unix-domain socket has none: give the host name of the database.'

/** A TCP port, as a number or, because environments hold text, as digits. */
export const port: Check<number> = (value, name) => {
  const number = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  if (!Number.isInteger(number) || (number as number) < 1 || (number as number) > 65_535) {
    throw invalidOption(name, 'an integer from 1 to 65535', value)
  }
  return number as number
}

/** One value, or a list with at least one; kept as a list. */
export function oneOrMore<T>(check: Check<T>): Check<NonEmpty<T>> {
  return (value, name) => {
    if (!Array.isArray(value)) return [check(value, name)]
    const values = value.map((each, index) => check(each, `${name}[${index}]`))
    const [first, ...others] = values
    if (first === undefined) throw invalidOption(name, 'a list with at least one value', value)
    return [first, ...others]
  }
}

/** A number within a closed range. */
export function numberWithin(least: number, most: number, unit: string): Check<number> {
  return (value, name) => {
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw invalidOption(name, `a number of ${unit} from ${least} to ${most}`, value)
    }
    return value
  }
}

/** An integer within a closed range. */
export function integerWithin(least: number, most: number, unit: string): Check<number> {
  return (value, name) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      throw invalidOption(name, `an integer of ${unit} from ${least} to ${most}`, value)
    }
    return value as number
  }
}

/** One of a few strings. */
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

/** A function, as it is. */
export function functionOf<T>(): Check<T> {
  return (value, name) => {
    if (typeof value !== 'function') throw invalidOption(name, 'a function', value)
    return value as T
  }
}

/**
 * Tells whether a value can hold options: an object of the caller's own making, also an instance of a class or what
 * `import *` gives. A Map, a Date or a promise has no keys, and would pass for options of which none was given.
 */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  const tag = Object.prototype.toString.call(value)
  return tag === '[object Object]' || tag === '[object Module]'
}

const TEXT = 'a non-empty string without control characters'

/** Tells whether a value is a non-empty string without control characters. */
export function isText(value: unknown): value is string {
  // oxlint-disable-next-line no-control-regex
  return typeof value === 'string' && value !== '' && !/[\u0000-\u001f\u007f]/.test(value)
}

// The suggestion behind "did you mean".

/** The known name closest to `name`, or `undefined` when none is close enough to be what was meant. */
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

/** How many insertions, deletions, replacements and swaps of neighbouring characters lead from one word to the other. */
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

// Tells addresses from names.

/**
 * Whether a host is an IP address, of version 4 or 6.
 *
 * `node:net` is asked, and loaded, for what looks like one only: a login is made while a process starts, that takes milliseconds,
 * and `isIP` takes five more for its first answer about a name.
 */
export function isIpAddress(host: string): boolean {
  return LOOKS_LIKE_ONE.test(host) && process.getBuiltinModule('node:net').isIP(host) !== 0
}

const LOOKS_LIKE_ONE = /^[\d.]+$|:/

// Lists with at least one value.

export type NonEmpty<T> = readonly [T, ...T[]]

/** As `list.map(change)`, which forgets that there is a first one. */
export function mapNonEmpty<T, U>(
  list: NonEmpty<T>,
  change: (value: T, index: number) => U,
): NonEmpty<U> {
  const [first, ...others] = list
  return [change(first, 0), ...others.map((value, index) => change(value, index + 1))]
}

/**
 * `T`, which TypeScript then takes from the caller's type argument alone. It would otherwise take it from the object that is
 * given, and with it every mistyped option, or from where the result goes, and so promise what nobody gave.
 *
 * TypeScript has `NoInfer` for this since 5.4; users of older ones read these types, too.
 */
export type Explicit<T> = [T][T extends unknown ? 0 : never]

// How values that came from outside are shown in messages: short, one line, and never with a secret in them.

/**
 * Renders a value for an error message. Strings are quoted and cut at 60 characters; whatever may be a token, a key or a
 * URL with a password is named, not shown.
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

/** Says of what kind a value is and nothing more: for options whose every value may be a secret. */
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
  /:.*@/s, // a URL with a password, whatever characters somebody forgot to encode in it
  /password\s*=/i, // the key=value form of libpq
  /[A-Za-z0-9/+]{40}/, // a secret access key of AWS
  /PRIVATE KEY/,
]

/** The environment's variables, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A variable that is set. An empty one is not, as for libpq. */
export function presentIn(env: Environment, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name]
}

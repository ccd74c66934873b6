/** Checks of options as they are given: every refusal names the option, what it must be, and what came. */
import { PgIamError } from '../errors.js'
import type { NonEmpty } from '../non-empty.js'
import { describeKind, describeValue } from '../redact.js'
import { isIpAddress } from './ip-address.js'
import { nearestName } from './nearest-name.js'

/** Turns one given value into the value that is kept, or throws `ERR_OPTION_INVALID`. */
export type Check<T> = (value: unknown, name: string) => T

/** The checks of one options object, by key. */
export type Checks = Readonly<Record<string, Check<unknown>>>

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

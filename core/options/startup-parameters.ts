/** Startup parameters: PostgreSQL run-time parameters of a new session, such as `application_name`. */
import { PgIamError } from '../errors.js'
import { type Check, describeValue, invalidOption, isPlainObject } from './check.js'

/** By lower-case name, as the server reads them. */
export type StartupParameters = Readonly<Record<string, string>>

/** The value of the option. Numbers and booleans are sent as text. */
export type GivenStartupParameters = Readonly<Record<string, string | number | boolean>>

/**
 * Text that is safe in a startup packet. A NUL ends a value there, so the text after it would be read as further parameters, such as
 * another user.
 */
export const startupText: Check<string> = (value, name) => {
  if (!isStartupText(value)) throw invalidOption(name, STARTUP_TEXT, value)
  return value
}

const STARTUP_TEXT = 'a non-empty string without NUL characters'

function isStartupText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0')
}

/** The `startupParameters` option. */
export const startupParameters: Check<StartupParameters> = (value, name) => {
  if (!isPlainObject(value)) throw invalidOption(name, EXPECTED, value)
  const checked: Record<string, string> = {}
  for (const [given, each] of Object.entries(value)) {
    if (each === undefined) continue
    const parameter = given.toLowerCase()
    if (!RUN_TIME_PARAMETER.test(parameter) || parameter.startsWith('_pq_.'))
      throw invalidOption(name, EXPECTED, value, `${describeValue(given)} is not a parameter name.`)
    if (OWNED.has(parameter)) {
      throw new PgIamError(
        'ERR_OPTION_CONFLICT',
        `"${name}.${given}" must not be given with a login`,
        {
          hint: `Set the "${parameter}" option of the login instead.`,
        },
      )
    }
    const text = typeof each === 'number' || typeof each === 'boolean' ? String(each) : each
    const checkedText = startupText(text, `${name}.${given}`)
    checked[parameter] =
      parameter === 'client_encoding' ? utf8(checkedText, `${name}.${given}`) : checkedText
  }
  return Object.freeze(checked)
}

const EXPECTED = 'run-time parameters of PostgreSQL, such as { application_name: "web" }'
const RUN_TIME_PARAMETER = /^[a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)*$/
const OWNED: ReadonlySet<string> = new Set(['user', 'database', 'password'])

/** Every driver sends JavaScript strings as UTF-8. */
export const utf8: Check<string> = (value, name) => {
  if (typeof value !== 'string' || !/^(?:auto|utf-?8|unicode)$/i.test(value))
    throw invalidOption(name, '"UTF8"', value, 'Remove it: every driver of Node sends UTF-8.')
  return 'UTF8'
}

/** The startup parameters that the `config` of pg, and of ORMs based on pg, has options for. */
export const PG_STARTUP_OPTIONS: Readonly<Record<string, string>> = {
  application_name: 'application_name',
  fallback_application_name: 'fallback_application_name',
  options: 'options',
  client_encoding: 'client_encoding',
  replication: 'replication',
  statement_timeout: 'statement_timeout',
  lock_timeout: 'lock_timeout',
  idle_in_transaction_session_timeout: 'idle_in_transaction_session_timeout',
}

/**
 * The names, in lower case, of the startup parameters that a driver's options give. They override the login's. An empty string counts as
 * not given, as in the drivers.
 *
 * Throws `ERR_OPTION_INVALID` for a NUL in a name or a value.
 *
 * @param names the startup parameter for each option. Default: the option's own name
 * @param prefix prepended to names in messages, such as `connection.`
 */
export function givenParameters(
  options: object,
  names?: Readonly<Record<string, string>>,
  prefix = '',
): readonly string[] {
  const given: string[] = []
  for (const [option, value] of Object.entries(options)) {
    const parameter = names === undefined ? option.toLowerCase() : names[option]
    if (parameter === undefined || value === undefined || value === null || value === '') continue
    if (option.includes('\0'))
      throw invalidOption(`${prefix}${option}`, 'a name without NUL', value)
    if (typeof value === 'string') startupText(value, `${prefix}${option}`)
    given.push(parameter)
  }
  return given
}

/** Startup parameters: the run-time parameters of PostgreSQL that a session begins with, such as `application_name`. */
import { PgIamError } from '../errors.js'
import { type Check, describeValue, invalidOption, isPlainObject } from './check.js'

/** By their names in lower case, as the server reads them. */
export type StartupParameters = Readonly<Record<string, string>>

/** What an option takes: numbers and booleans are sent as their text. */
export type GivenStartupParameters = Readonly<Record<string, string | number | boolean>>

/**
 * Text that may stand in a startup packet. There a NUL ends a value, so whatever comes behind one would be read as further
 * parameters: another user, for example.
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
      throw invalidOption(name, EXPECTED, value, `The name ${describeValue(given)} is none.`)
    if (OWNED.has(parameter)) {
      throw new PgIamError(
        'ERR_OPTION_CONFLICT',
        `"${name}.${given}" must not be given beside a login`,
        {
          hint: `Give the login "${parameter}" as an option of its own.`,
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

/** Text of JavaScript is sent as UTF-8 by every driver. */
export const utf8: Check<string> = (value, name) => {
  if (typeof value !== 'string' || !/^(?:auto|utf-?8|unicode)$/i.test(value))
    throw invalidOption(name, '"UTF8"', value, 'Leave it out: every driver of Node sends UTF-8.')
  return 'UTF8'
}

/** The parameters by which the `config` of pg, and of every ORM on it, names those of the startup packet. */
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
 * The startup parameters that a driver's options give, in lower case: they beat those of the login. An empty text is not given, as
 * for the drivers.
 *
 * Throws `ERR_OPTION_INVALID` for a NUL in a name or a value.
 *
 * @param names the startup parameter that each option gives. Default: every option gives the one of its own name
 * @param prefix what stands before the names in messages, such as `connection.`
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

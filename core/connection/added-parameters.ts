/** Startup parameters beside those of the driver: the login's, and the provider's. */
import type { Login } from '../login.js'
import { VERSION } from '../version.js'

/** The `application_name` of sessions to which nobody gave one; drivers have others, or none. */
const OWN_NAME = `pg-iam/${VERSION}`

/**
 * Returns the parameters of the driver with those of the login. What was given to the driver stays; what the driver sends of its own,
 * such as a name for itself or what it read from the environment, gives way to the login.
 *
 * @param given the names that the driver's options give, in lower case. Default: all that it sends
 */
export function withLogin(
  parameters: ReadonlyMap<string, string>,
  { startupParameters = {} }: Pick<Login, 'startupParameters'>,
  given: readonly string[] = [...parameters.keys()].map((name) => name.toLowerCase()),
): Map<string, string> {
  const sent = new Map([...parameters.keys()].map((name) => [name.toLowerCase(), name]))
  const all = new Map(parameters)
  // pg (8.23) sends its fallback as the name itself, and that is worth more than none.
  const named = given.includes('fallback_application_name') ? {} : { application_name: OWN_NAME }
  for (const [name, value] of Object.entries({ ...named, ...startupParameters })) {
    if (!given.includes(name)) all.set(sent.get(name) ?? name, value)
  }
  return all
}

/** The driver may have `options` of its own; the server reads those that come last where they name the same. */
export function withAdded(
  parameters: ReadonlyMap<string, string>,
  added: Readonly<Record<string, string>> = {},
): Map<string, string> {
  const all = new Map(parameters)
  for (const [name, value] of Object.entries(added)) {
    const given = name === 'options' ? parameters.get(name) : undefined
    all.set(name, given === undefined ? value : `${given} ${value}`)
  }
  return all
}

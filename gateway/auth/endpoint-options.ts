/** Checks of what every entry of `endpoints` has. */
import { hostName, integerWithin, invalidOption, type Check } from '../../core/options/check.js'

/** A list of at least one host name; names that come twice are kept once. */
export function hostList(check: Check<string> = hostName): Check<readonly string[]> {
  return (value, name) => {
    if (!Array.isArray(value) || value.length === 0)
      throw invalidOption(name, 'an array of endpoint names', value)
    return [...new Set(value.map((item: unknown, index) => check(item, `${name}[${index}]`)))]
  }
}

export const COMMON_ENDPOINT_CHECKS: {
  hosts: Check<readonly string[]>
  listen: Check<number>
} = {
  hosts: hostList(),
  listen: integerWithin(0, 65_535, 'the port number'),
}

/** The value of an option without which an endpoint cannot be. */
export function requiredOption<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw invalidOption(name, 'given', undefined)
  return value
}

/** Checks of the names of database roles. */
import { invalidOption, text, type Check } from '../../core/options/check.js'

export const roleNames: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array of role names', value)
  return [...new Set(value.map((role: unknown, index) => roleName(role, `${name}[${index}]`)))]
}

/** PostgreSQL cuts longer names without a word, and then they are names of other roles. */
export const roleName: Check<string> = (value, name) => {
  const role = text(value, name)
  if (Buffer.byteLength(role) > 63) throw invalidOption(name, 'a name of at most 63 bytes', value)
  return role
}

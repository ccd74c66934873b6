/** Checks that what was given as a login is one. */
import type { Login } from './login.js'
import { invalidOption, isPlainObject, type Check } from './options/check.js'

/** A login, also of the package's other copy, or an object that was made of one. */
export const login: Check<Login> = (value, name) => {
  if (
    !isPlainObject(value) ||
    typeof value['token'] !== 'function' ||
    !isPlainObject(value['tls'])
  ) {
    throw invalidOption(name, 'a login, such as rds() returns', value)
  }
  return value as unknown as Login
}

/** In place of `core/login-from.ts`: a browser has no environment, and the providers of URLs are not part of its build. */
import { type Login, loginCheck } from '../core/login.js'
import { invalidOption } from '../core/options/check.js'

export type LoginOrUrl = Login | string | URL

export function loginOf(given: LoginOrUrl, name = 'login'): Login {
  if (typeof given === 'string' || given instanceof URL)
    throw invalidOption(name, 'a login, such as auroraDsql() returns, in a browser', given)
  return loginCheck(given, name)
}

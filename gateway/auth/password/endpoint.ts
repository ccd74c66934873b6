/** Endpoints where clients log in with passwords: a plain PostgreSQL, or a cloud that hands out passwords, as Redshift does. */
import {
  checkOptions,
  invalidSecret,
  isPlainObject,
  oneOf,
  type Check,
} from '../../../core/options/check.js'
import type { TokenContext } from '../../../core/providers/custom/token.js'
import { POSTGRES_ANSWERS } from '../answers.js'
import type { CommonEndpointOptions, EndpointDefinition } from '../endpoint.js'
import { COMMON_ENDPOINT_CHECKS, requiredOption } from '../endpoint-options.js'
import { roleName } from '../role-names.js'
import { cleartextPassword } from './cleartext.js'
import { md5Password } from './md5.js'
import type { PasswordLookup } from './passwords.js'
import { scramPassword } from './scram.js'

export interface PasswordEndpoint extends CommonEndpointOptions {
  provider: 'password'
  /** The passwords by role; or a function that gives a role's password, asked at each login, with `undefined` for none. */
  users: Readonly<Record<string, string>> | PasswordLookup
  /** How clients send them. Default `scram-sha-256`, as in PostgreSQL. */
  method?: 'cleartext' | 'md5' | 'scram-sha-256'
}

export const passwordEndpoint: EndpointDefinition<PasswordEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return {
      ...given,
      provider: 'password',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
      users: requiredOption(given.users, `${name}.users`),
    }
  },
  roles: ({ users }) => rolesIn(users),
  create({ users, method = 'scram-sha-256' }) {
    const lookUp: PasswordLookup = typeof users === 'function' ? users : (role) => users[role]
    return {
      method: METHODS[method](lookUp),
      answers: POSTGRES_ANSWERS,
      roles: rolesIn(users),
      loginOptions: { getToken: ({ user }: TokenContext) => lookUp(user ?? '') },
    }
  },
}

const METHODS = {
  cleartext: cleartextPassword,
  md5: md5Password,
  'scram-sha-256': scramPassword,
} as const

function rolesIn(users: PasswordEndpoint['users']): string[] {
  return typeof users === 'function' ? [] : Object.keys(users)
}

const passwords: Check<PasswordEndpoint['users']> = (value, name) => {
  if (typeof value === 'function') return value as PasswordLookup
  if (!isPlainObject(value))
    throw invalidSecret(name, 'an object of passwords by role, or a function', value)
  return Object.fromEntries(
    Object.entries(value).map(([role, password]) => [
      roleName(role, name),
      passwordText(password, `${name}.${role}`),
    ]),
  )
}

const passwordText: Check<string> = (value, name) => {
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw invalidSecret(name, 'a non-empty string without NUL', value)
  return value
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('password'),
  users: passwords,
  method: oneOf('cleartext', 'md5', 'scram-sha-256'),
} as const

/** Logins in place of the addresses in a client's `replication: { read, write }`. */
import { PgIamError } from '../errors.js'
import type { Login } from '../login.js'
import { loginOf, type LoginOrUrl } from '../login-from.js'
import { type Check, checkOptions, oneOrMore } from '../options/check.js'
import type { Address } from './log-in.js'

/** The logins of the replicas, or `undefined` without replication. Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`. */
export function readLogins(replication: unknown): readonly Login[] | undefined {
  if (replication === undefined || replication === null || replication === false) return undefined
  const { read } = checkOptions(replication, CHECKS, 'replication.')
  return oneOrMore<Login>((value, name) => loginOf(value as LoginOrUrl, name))(
    read,
    'replication.read',
  )
}

const write: Check<never> = (_value, name) => {
  throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given with a login`, {
    hint: 'Pass the login of the writer as the first argument, and those of the replicas as replication: { read: [login] }.',
  })
}

const CHECKS = { write, read: (value: unknown) => value } as const

/** The login for the address that a client is about to connect to. Throws `ERR_OPTION_CONFLICT` if there is none. */
export function loginForAddress(
  logins: readonly Login[],
  { host, port = DEFAULT_PORT }: { host?: string; port?: string | number },
): Login {
  const isNamed = (address: Address | undefined): boolean =>
    address !== undefined && address.host === host && String(address.port) === String(port)
  const found = logins.find((login) => isNamed(login) || isNamed(login.connectTo))
  if (found !== undefined) return found
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"replication" contains ${host}:${port}, which none of the logins is for`,
    { hint: 'Pass a login for each host: sequelizeHook(writer, reader).' },
  )
}

/** PostgreSQL's, and that of pg. Sequelize 7 has none. */
const DEFAULT_PORT = 5432

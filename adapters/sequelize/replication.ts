/** The `replication` option of Sequelize, with logins in the place of addresses. */
import { PgIamError } from '../../core/errors.js'
import type { Address, Login } from '../../core/login.js'
import { loginOf, type LoginOrUrl } from '../../core/login-from.js'
import { checkOptions, oneOrMore, type Check } from '../../core/options/check.js'
import type { SequelizeConnectionConfig } from './connection.js'

/** Where Sequelize reads from; it writes to the login that is given first. */
export interface SequelizeReplication {
  /** The logins of the replicas, or of one reader endpoint, or their URLs: at least one. Connections are opened to each in turn. */
  read: readonly LoginOrUrl[]
}

/** The logins of the replicas, or `undefined` without replication. Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`. */
export function readLogins(replication: unknown): readonly Login[] | undefined {
  if (replication === undefined || replication === null || replication === false) return undefined
  const { read } = checkOptions(replication, CHECKS, 'replication.')
  return oneOrMore<Login>((value, name) => loginOf(value as LoginOrUrl, name))(
    read,
    'replication.read',
  )
}

/** The login of the host that Sequelize is about to connect to. Throws `ERR_OPTION_CONFLICT` where there is none. */
export function loginForHost(
  logins: readonly Login[],
  { host, port }: SequelizeConnectionConfig,
): Login {
  const isNamed = (place: Address | undefined): boolean =>
    place !== undefined && place.host === host && String(place.port) === String(port)
  const found = logins.find((login) => isNamed(login) || isNamed(login.connectTo))
  if (found !== undefined) return found
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"replication" names ${host}:${port}, and none of the logins is for that`,
    { hint: 'Give the hook a login for each host: sequelizeHook(writer, reader).' },
  )
}

const write: Check<never> = (_value, name) => {
  throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given beside a login`, {
    hint: 'Give the login of the writer first, and those of the replicas as replication: { read: [login] }.',
  })
}

const CHECKS = { write, read: (value: unknown) => value } as const

/** Which connections are logged in: by the environment of the process, and by what the application gives its driver. */
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { loginFromSources, PROVIDER_NAMES } from '../core/login-from.js'
import { hostName, invalidOption, oneOf } from '../core/options/check.js'
import { type HostedProvider, providerOfHost } from '../core/providers/host-names.js'

export interface Settings {
  /** The hosts of `PG_IAM_HOSTS`. */
  readonly hosts: ReadonlyMap<string, HostedProvider>
  /** `PG_IAM_DEBUG`. */
  readonly isDebug: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

/** Throws `ERR_OPTION_INVALID` for a variable that can't be read. */
export function readSettings(env: Environment): Settings {
  const hosts = new Map<string, HostedProvider>()
  for (const entry of (env['PG_IAM_HOSTS'] ?? '').split(',')) {
    if (entry.trim() === '') continue
    const [name = '', provider, ...others] = entry.split('=').map((part) => part.trim())
    if (others.length > 0)
      throw invalidOption('PG_IAM_HOSTS', 'hosts as HOST or HOST=PROVIDER', entry)
    const host = hostName(name, 'PG_IAM_HOSTS')
    hosts.set(host, providerOf(host, provider))
  }
  const debug = env['PG_IAM_DEBUG'] ?? ''
  if (!['', '0', '1', 'false', 'true'].includes(debug))
    throw invalidOption('PG_IAM_DEBUG', '"1" or "0"', debug)
  return { hosts, isDebug: debug === '1' || debug === 'true' }
}

function providerOf(host: string, given: string | undefined): HostedProvider {
  if (given !== undefined) return oneOf(...PROVIDER_NAMES)(given, `PG_IAM_HOSTS: ${host}`)
  const known = providerOfHost(host)
  if (known !== undefined) return known
  throw new PgIamError('ERR_OPTION_INVALID', `"PG_IAM_HOSTS" must name the provider of "${host}"`, {
    hint: `Write ${host}=PROVIDER, with one of ${PROVIDER_NAMES.join(', ')}.`,
  })
}

/** Where a driver would connect to. */
export interface Connection {
  readonly hosts: readonly string[]
  readonly port?: unknown
  readonly user?: unknown
  readonly database?: unknown
  readonly hasPassword: boolean
  /** A file with certificate authorities. */
  readonly ca?: unknown
}

/** Either a login, or why there is none. */
export type Choice = { readonly login: Login } | { readonly reason: string }

/**
 * Returns the login for a connection. The same login for the same settings, so that its credentials are found once, whatever the number of
 * clients.
 *
 * Throws as the provider's function, for settings that don't suffice for a login.
 */
export function chooseLogin(connection: Connection, { hosts: named }: Settings): Choice {
  const hosts = connection.hosts.map((host) => host.toLowerCase().replace(/\.$/, ''))
  const [host] = hosts
  if (host === undefined) return { reason: 'it names no host' }
  const provider = named.get(host) ?? providerOfHost(host)
  if (provider === undefined)
    return { reason: 'the host is no known IAM endpoint, and PG_IAM_HOSTS does not name it' }
  if (connection.hasPassword && !named.has(host))
    return { reason: 'it has a password, and PG_IAM_HOSTS does not name the host' }
  const { port, user, database, ca } = connection
  const options = {
    host: hosts.length === 1 ? host : hosts,
    ...(isSet(port) ? { port } : {}),
    ...(isSet(user) ? { user } : {}),
    ...(isSet(database) ? { database } : {}),
    ...(isSet(ca) && ca !== 'system' ? { tls: { ca } } : {}),
  }
  const env = Object.entries(process.env).filter(([name]) => IS_READ.test(name))
  const key = JSON.stringify([provider, options, env])
  const known = logins.get(key)
  if (known !== undefined) return { login: known }
  const login = loginFromSources({
    provider,
    options,
    signerOptions: { signer: 'built-in' },
    env: process.env,
  })
  if (logins.size >= MOST_LOGINS) logins.clear()
  logins.set(key, login)
  return { login }
}

const logins = new Map<string, Login>()
const MOST_LOGINS = 1_000

/** The variables that a login reads when it is created. None of them is a secret. */
const IS_READ = /^(?:PG(?!PASSWORD$)|AWS_(?:DEFAULT_)?REGION$|AWS_PROFILE$)/

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== ''
}

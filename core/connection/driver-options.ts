/** Checks driver options that the login already determines: address, user, password, TLS. */
import { PgIamError } from '../errors.js'
import type { Login } from '../login.js'
import { describeValue, invalidOption, isPlainObject, text } from '../options/check.js'
import { onlyHarmless } from '../options/connection-url.js'
import {
  certificateAuthority,
  newestVersion,
  oldestVersion,
  refuseNoVersion,
  unverified,
  type VerifiedTls,
  weakens,
} from '../tls.js'
import { jitteredLifetimeSecs } from './login-stream.js'

/** The meaning of a driver option. */
export type OwnedByLogin =
  | 'host'
  | 'port'
  | 'user'
  | 'database'
  | 'password'
  | 'url'
  | 'socket'
  | 'tls'
  | 'negotiation'
  | 'session-attributes'

/** The options of pg, and of ORMs based on pg, that the login determines. */
export const OWNED_OF_PG: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  user: 'user',
  database: 'database',
  password: 'password',
  connectionString: 'url',
  stream: 'socket',
  ssl: 'tls',
  // pg reads `sslmode` only in URLs. Given here, it must still not weaken TLS.
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  target_session_attrs: 'session-attributes',
}

/**
 * Checks the options that a caller passes to a client with a login. Returns the TLS settings to use: the login's, with the versions of the
 * driver's own `ssl`, and with its CAs if the login has none.
 *
 * Throws `ERR_OPTION_CONFLICT` for a password, a URL or a socket, and for an address, user or database that differs from the login's;
 * `ERR_TLS_UNVERIFIED` for an option that would weaken TLS.
 *
 * @param owned the meaning of this client's options, by name
 * @param prefix prepended to names in messages, such as `connection.`
 */
export function checkDriverOptions(
  login: Login,
  given: object,
  owned: Readonly<Record<string, OwnedByLogin>>,
  prefix = '',
): VerifiedTls {
  if (!isPlainObject(given as unknown))
    throw invalidOption(prefix === '' ? 'options' : prefix.slice(0, -1), 'an object', given)
  let { tls } = login
  for (const [option, meaning] of Object.entries(owned)) {
    const value = (given as Record<string, unknown>)[option]
    if (value === undefined || value === null) continue
    const name = `${prefix}${option}`
    // In URLs for pg, `sslmode=require` means TLS, which is used anyway.
    if (meaning === 'tls')
      tls = option === 'sslmode' && value === 'require' ? tls : mergeTls(tls, value, name)
    else if (meaning === 'session-attributes')
      onlyHarmless('target_session_attrs', text(value, name), name)
    else if (meaning === 'negotiation') checkNegotiation(login, value, name)
    else if (meaning === 'password' || meaning === 'url' || meaning === 'socket')
      throw refused(name, meaning)
    else if (!agrees(login, meaning, value)) throw differs(login, name, meaning, value)
    else if (meaning === 'user' || meaning === 'database') text(value, name)
  }
  return tls
}

function checkNegotiation({ tlsNegotiation }: Login, value: unknown, name: string): void {
  if (value === tlsNegotiation) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must be "${tlsNegotiation}", as in the login, got ${describeValue(value)}`,
    { hint: 'Set tls.negotiation of the login instead.' },
  )
}

/**
 * For a client that cannot pass `sslnegotiation` to pg. pg (8.23) then reads `PGSSLNEGOTIATION`, and with `direct` it rejects each
 * connection, because its TLS is off.
 *
 * @param client what is used, for the message
 * @param remedy appended to the hint
 */
export function refuseDirectNegotiation(client: string, remedy = ''): void {
  if (process.env['PGSSLNEGOTIATION'] !== 'direct') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"PGSSLNEGOTIATION" must not be "direct" with ${client}, whose connections cannot override it`,
    { hint: `Unset it, and set tls: { negotiation: 'direct' } in the login.${remedy}` },
  )
}

const HINTS = {
  password: 'Remove it: the login makes a token for each connection.',
  url: 'Create the login with loginFromUrl(url), and pass the other options as fields.',
  socket:
    'Remove it: the login opens the connections. To dial another address, set "connectTo" of the login.',
} as const

function refused(name: string, meaning: keyof typeof HINTS): PgIamError {
  return new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given with a login`, {
    hint: HINTS[meaning],
  })
}

function agrees(
  login: Login,
  meaning: 'host' | 'port' | 'user' | 'database',
  value: unknown,
): boolean {
  if (isEqual(value, login[meaning])) return true
  // The dialled address is accepted as well as the host that tokens are for.
  if (meaning === 'host' || meaning === 'port') return isEqual(value, login.connectTo?.[meaning])
  return login[meaning] === undefined
}

/** A port may be a string. Other types may not be convertible to one. */
function isEqual(value: unknown, own: string | number | undefined): boolean {
  const hasText = typeof value === 'string' || typeof value === 'number'
  return hasText && own !== undefined && String(value) === String(own)
}

function differs(
  login: Login,
  name: string,
  meaning: 'host' | 'port' | 'user' | 'database',
  value: unknown,
): PgIamError {
  const own = describeValue(login[meaning])
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must be ${own}, as in the login, got ${describeValue(value)}`,
    {
      hint: `Remove it, or change "${meaning}" of the login.`,
    },
  )
}

/**
 * `true` and `{ rejectUnauthorized: true }` have no effect; a CA and TLS versions are used. `'require'` is rejected: in Postgres.js it
 * means TLS without verification.
 */
function mergeTls(tls: VerifiedTls, value: unknown, name: string): VerifiedTls {
  if (weakens(value)) throw unverified(name)
  if (!isPlainObject(value)) return tls
  const { ca, rejectUnauthorized: _verified, servername, minVersion, maxVersion, ...others } = value
  for (const [option, given] of Object.entries(others)) {
    if (given !== undefined) refuseTlsOption(option, given, name)
  }
  if (servername !== undefined && servername !== tls.servername) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}.servername" must be "${tls.servername}", as in the login`,
    )
  }
  const own = {
    ...(minVersion === undefined
      ? {}
      : { minVersion: oldestVersion(minVersion, `${name}.minVersion`) }),
    ...(maxVersion === undefined
      ? {}
      : { maxVersion: newestVersion(maxVersion, `${name}.maxVersion`) }),
    ...(ca === undefined || tls.ca !== undefined
      ? {}
      : { ca: certificateAuthority(joined(ca), `${name}.ca`) }),
  }
  if (Object.keys(own).length === 0) return tls
  const merged = { ...tls, ...own }
  refuseNoVersion(merged, `${name}.`)
  return merged
}

/** TLS options found in templates: Sequelize's `require`, and options of Node's TLS servers and of HTTP agents. */
function refuseTlsOption(option: string, given: unknown, name: string): void {
  if (option === 'require' || option === 'sslmode' || option === 'ssl') {
    // libpq's value for TLS without verification. Here TLS is verified anyway.
    if (given !== 'require' && weakens(given)) throw unverified(`${name}.${option}`)
    return
  }
  if (option === 'requestCert' || option === 'agent') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}.${option}" must not be given with a login`,
    {
      hint: CLIENT_CERTIFICATE.has(option)
        ? 'Remove it: the token authenticates the user, and pg-iam sends no client certificate.'
        : 'Set it in the TLS options of the login: tls: { ca, servername, minVersion, maxVersion }.',
    },
  )
}

const CLIENT_CERTIFICATE: ReadonlySet<string> = new Set(['key', 'cert', 'pfx', 'passphrase'])

/** Node accepts an array of CAs. */
function joined(ca: unknown): unknown {
  return Array.isArray(ca) ? ca.map(String).join('\n') : ca
}

// The lifetime of connections in a `pg.Pool`.

/**
 * The pool option `maxLifetimeSeconds` for a login that limits the age of connections. Its value differs for each connection. pg-pool has
 * no jitter, but it multiplies the option for each connection that it opens, so an object with `valueOf` works.
 *
 * The value is one of some hundreds: Node (20) keeps a list of timers for each duration. pg-pool's timers are unreferenced, and the list of
 * such a timer stays until its time even when the timer is cleared: 150 bytes for each connection, for up to an hour.
 */
export function jitteredMaxLifetime(login: Login): { maxLifetimeSeconds?: number } {
  const { maxLifetimeSecs } = login
  if (maxLifetimeSecs === undefined) return {}
  const valueOf = (): number => {
    const part = jitteredLifetimeSecs(login) / maxLifetimeSecs
    return (maxLifetimeSecs * Math.round(part * STEPS)) / STEPS
  }
  return { maxLifetimeSeconds: { valueOf } as unknown as number }
}

/** Steps per lifetime; the values come from the last fifth. */
const STEPS = 2_500

/** What a driver's options may say beside a login, which brings the address, the user, the password and TLS by itself. */
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

/** What an option of a driver stands for. */
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

/** The options of pg, and of every ORM on it, that stand for something of the login. */
export const OWNED_OF_PG: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  user: 'user',
  database: 'database',
  password: 'password',
  connectionString: 'url',
  stream: 'socket',
  ssl: 'tls',
  // pg reads it in URLs alone; whoever gives it here means it.
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  target_session_attrs: 'session-attributes',
}

/**
 * Checks the options that a caller gives to a client beside a login, and returns the TLS to use: the login's, with the versions of
 * the driver's own `ssl`, and with its authorities where the login has none.
 *
 * Throws `ERR_OPTION_CONFLICT` for a password, a URL or a socket, and for an address, user or database other than the
 * login's; `ERR_TLS_UNVERIFIED` for what would weaken TLS.
 *
 * @param owned what stands for what in this client's options
 * @param prefix what stands before the names in messages, such as `connection.`
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
    // pg knows the word `sslmode` from URLs, and there "require" asks for what is done anyway.
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
    `"${name}" must be "${tlsNegotiation}", as the login says, got ${describeValue(value)}`,
    { hint: 'Leave it out, and give it to the login, as tls: { negotiation }.' },
  )
}

const HINTS = {
  password: 'Leave it out: the login makes a token for each connection.',
  url: 'Make the login from the URL with loginFromUrl(), and give the other options as fields.',
  socket:
    'Leave it out: the login opens the connections. To dial another address give the login "connectTo".',
} as const

function refused(name: string, meaning: keyof typeof HINTS): PgIamError {
  return new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given beside a login`, {
    hint: HINTS[meaning],
  })
}

function agrees(
  login: Login,
  meaning: 'host' | 'port' | 'user' | 'database',
  value: unknown,
): boolean {
  if (saysTheSame(value, login[meaning])) return true
  // The address that is dialled is as good a name for the place as the one that is signed for.
  if (meaning === 'host' || meaning === 'port')
    return saysTheSame(value, login.connectTo?.[meaning])
  return login[meaning] === undefined
}

/** A port may come as text. What is neither text nor a number need not have a text at all. */
function saysTheSame(value: unknown, own: string | number | undefined): boolean {
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
    `"${name}" must be ${own}, as the login says, got ${describeValue(value)}`,
    {
      hint: `Leave it out, or give the login another "${meaning}".`,
    },
  )
}

/**
 * `true` and `{ rejectUnauthorized: true }` ask for what is done anyway; an authority and versions of TLS are taken over. `'require'`
 * is refused: Postgres.js means by it that nothing is verified.
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
      `"${name}.servername" must be "${tls.servername}", as the login says`,
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

/** Options that templates have beside the ones of TLS: Sequelize's `require`, and those of Node's servers and of HTTP. */
function refuseTlsOption(option: string, given: unknown, name: string): void {
  if (option === 'require' || option === 'sslmode' || option === 'ssl') {
    // libpq's word for TLS, which here is verified as well.
    if (given !== 'require' && weakens(given)) throw unverified(`${name}.${option}`)
    return
  }
  if (option === 'requestCert' || option === 'agent') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}.${option}" must not be given beside a login`,
    {
      hint: CLIENT_CERTIFICATE.has(option)
        ? 'Leave it out: the token says who logs in, and pg-iam sends no client certificate.'
        : 'Give TLS settings to the login, as tls: { ca, servername, minVersion, maxVersion }.',
    },
  )
}

const CLIENT_CERTIFICATE: ReadonlySet<string> = new Set(['key', 'cert', 'pfx', 'passphrase'])

/** Node takes a list of authorities as well as one. */
function joined(ca: unknown): unknown {
  return Array.isArray(ca) ? ca.map(String).join('\n') : ca
}

// The lifetime of the connections of a `pg.Pool`.

/**
 * The option `maxLifetimeSeconds` for the pool of a login that limits the age of connections. Its value is another number for each connection. pg-pool has no jitter, but multiplies the
 * option anew for each connection that it makes, so it takes whatever has a `valueOf`.
 *
 * There are some hundreds of numbers, and not any: Node (20) keeps a list for each duration of a timer. pg-pool's timers keep no
 * process alive, and the list of such a one stays when it is cleared, until the time would have been up: 150 bytes for each
 * connection of up to an hour.
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

/** Of a whole lifetime; a fifth of them is drawn from. */
const STEPS = 2_500

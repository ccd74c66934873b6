/** What a driver's options may say beside a login, which brings the address, the user, the password and TLS by itself. */
import { PgIamError } from '../errors.js'
import type { Login } from '../login.js'
import { invalidOption, isPlainObject } from '../options/check.js'
import { certificateAuthority } from '../tls/certificate-authority.js'
import { unverified, weakens, type VerifiedTls } from '../tls/verified-tls.js'
import { describeValue } from '../redact.js'

/** What an option of a driver stands for. */
export type OwnedByLogin =
  'host' | 'port' | 'user' | 'database' | 'password' | 'url' | 'socket' | 'tls'

/**
 * Checks the options that a caller gives to a client beside a login, and returns the TLS to use: the login's, with the
 * authorities of the driver's own `ssl: { ca }` where the login has none.
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
    if (meaning === 'tls') tls = mergeTls(tls, value, name)
    else if (meaning === 'password' || meaning === 'url' || meaning === 'socket')
      throw refused(name, meaning)
    else if (!agrees(login, meaning, value)) throw differs(login, name, meaning, value)
  }
  return tls
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

/** `true` and `{ rejectUnauthorized: true }` ask for what is done anyway; an authority is taken over. */
function mergeTls(tls: VerifiedTls, value: unknown, name: string): VerifiedTls {
  if (weakens(value)) throw unverified(name)
  if (!isPlainObject(value)) return tls
  const {
    ca,
    rejectUnauthorized: _verified,
    servername,
    minVersion: _minVersion,
    ...others
  } = value
  const [unknown] = Object.keys(others).filter((key) => others[key] !== undefined)
  if (unknown !== undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}.${unknown}" must not be given beside a login`,
      { hint: 'Give TLS settings to the login, as tls: { ca, servername }.' },
    )
  }
  if (servername !== undefined && servername !== tls.servername) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}.servername" must be "${tls.servername}", as the login says`,
    )
  }
  return ca === undefined || tls.ca !== undefined
    ? tls
    : { ...tls, ca: certificateAuthority(joined(ca), `${name}.ca`) }
}

/** Node takes a list of authorities as well as one. */
function joined(ca: unknown): unknown {
  return Array.isArray(ca) ? ca.map(String).join('\n') : ca
}

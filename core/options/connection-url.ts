/** Takes a PostgreSQL URL apart, so that no driver ever does: they disagree about it, and some of them turn TLS off by it. */
import { PgIamError } from '../errors.js'
import { unverified } from '../tls/verified-tls.js'
import { unknownOption } from './check.js'

/** What a URL says, under the names of the options. Only what it says is present. */
export interface UrlOptions {
  host?: string
  port?: string
  database?: string
  user?: string
  region?: string
  tls?: { ca?: string; negotiation?: string }
}

/**
 * Reads `postgres://user@host:port/database?parameters`.
 *
 * Throws `ERR_OPTION_CONFLICT` for a password in it, `ERR_TLS_UNVERIFIED` for an `sslmode` or `ssl` that weakens TLS, and
 * `ERR_OPTION_INVALID` for what is no such URL or has unknown parameters. The errors never show the URL.
 */
export function connectionUrlOptions(url: unknown): UrlOptions {
  const parsed = parse(url)
  if (parsed.password !== '' || parsed.searchParams.has('password')) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      'the URL must not hold a password: the login makes a token for each connection',
    )
  }
  const options: UrlOptions = {}
  if (parsed.hostname !== '') options.host = parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  if (parsed.port !== '') options.port = parsed.port
  if (parsed.username !== '') options.user = decode(parsed.username, 'user')
  const database = pathOf(url)
  if (database !== '') options.database = decode(database, 'database')
  for (const [name, value] of parsed.searchParams) applyParameter(options, name, value)
  return options
}

const PARAMETERS = ['region', 'sslmode', 'ssl', 'sslrootcert', 'sslnegotiation', 'user'] as const

function applyParameter(options: UrlOptions, name: string, value: string): void {
  switch (name as (typeof PARAMETERS)[number]) {
    case 'region':
      options.region = value
      break
    case 'user':
      options.user = value
      break
    case 'sslmode':
      // libpq's "require" does not verify; what it demands is met, and exceeded.
      if (!['require', 'verify-ca', 'verify-full'].includes(value)) throw unverified('sslmode')
      break
    case 'ssl':
      if (!['true', '1', 'verify-full', 'require'].includes(value)) throw unverified('ssl')
      break
    case 'sslrootcert':
      if (value !== 'system') options.tls = { ...options.tls, ca: value }
      break
    case 'sslnegotiation':
      options.tls = { ...options.tls, negotiation: value }
      break
    default:
      throw unknownOption(name, PARAMETERS)
  }
}

function parse(url: unknown): URL {
  const text = url instanceof URL ? url.href : url
  if (typeof text === 'string' && /^postgres(ql)?:\/\/[^#]*$/.test(text) && URL.canParse(text))
    return new URL(text)
  // What came may hold a password in a place where it is not recognised as one, so it is not shown.
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    '"url" must be a URL such as postgres://user@host:5432/database',
    {
      hint: 'Percent-encode special characters in it.',
    },
  )
}

/** As written: a `URL` would take the name of a database that is a dot, or two, for a step in a tree of folders. */
function pathOf(url: unknown): string {
  return /^[^:]+:\/\/[^/?]*\/([^?]*)/.exec(String(url))?.[1] ?? ''
}

function decode(component: string, name: string): string {
  try {
    return decodeURIComponent(component)
  } catch (cause) {
    throw new PgIamError('ERR_OPTION_INVALID', `"url" must have a percent-encoded ${name}`, {
      cause,
    })
  }
}

/** The `upstream` option: where the real PostgreSQL behind the gateway is. */
import { PgIamError } from '../../../core/errors.js'
import {
  checkOptions,
  hostName,
  invalidOption,
  port,
  text,
  type Check,
} from '../../../core/options/check.js'

/** A real PostgreSQL that the gateway logs in to as the client's role. */
export interface UpstreamOptions {
  /** A host name, an IP address, or the absolute path of the directory of its Unix socket. */
  host: string
  /** Default 5432. */
  port?: number
  /** Default: the gateway's `database`. */
  database?: string
  /**
   * The password of the roles, where the server asks for one: by SCRAM-SHA-256, or in clear text over a Unix socket or
   * within this machine. Without it, the server must trust the gateway.
   */
  password?: string
}

/** Checks the option, which may also be a `postgres://` URL. */
export const upstreamAddress: Check<UpstreamOptions> = (value, name) => {
  const given = typeof value === 'string' ? fromUrl(value, name) : value
  const { host, ...rest } = checkOptions(
    given,
    { host: hostOrDirectory, port, database: text, password: secret },
    `${name}.`,
  )
  if (host === undefined) throw invalidOption(`${name}.host`, HOST, undefined)
  return { host, ...rest }
}

const HOST = 'a host name or the absolute path of a directory'

const hostOrDirectory: Check<string> = (value, name) => {
  if (typeof value === 'string' && value.startsWith('/')) return text(value, name)
  return hostName(value, name)
}

const secret: Check<string> = (value, name) => {
  // The value itself is never shown: it is a password, however wrong.
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must be a non-empty string`)
  return value
}

/** As libpq reads it, as far as the gateway can do what it asks for. */
function fromUrl(given: string, name: string): object {
  const url = parse(given)
  if (url === undefined || !['postgres:', 'postgresql:'].includes(url.protocol))
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must be an object or a postgres:// URL`)
  if (url.username !== '') {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not name a user`, {
      hint: 'The gateway logs in as the role of each client: leave the user out of the URL.',
    })
  }
  const parameters = new Map(url.searchParams)
  const sslmode = parameters.get('sslmode') ?? 'disable'
  if (!['disable', 'allow', 'prefer'].includes(sslmode)) {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not ask for TLS`, {
      hint: 'The gateway talks to its PostgreSQL over a Unix socket or plain TCP, on this machine or a trusted network.',
    })
  }
  parameters.delete('sslmode')
  const host = parameters.get('host') ?? decodeURIComponent(url.hostname).replaceAll(/[[\]]/g, '')
  const listeningPort = parameters.get('port') ?? url.port
  const database = decodeURIComponent(url.pathname.slice(1))
  parameters.delete('host')
  parameters.delete('port')
  const [unknown] = parameters.keys()
  if (unknown !== undefined)
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" has an unknown parameter in its URL`)
  return {
    host,
    ...(listeningPort === '' ? {} : { port: listeningPort }),
    ...(database === '' ? {} : { database }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
  }
}

/** Neither the URL nor the parser's error is shown: there may be a password in it. */
function parse(given: string): URL | undefined {
  try {
    const url = new URL(given)
    for (const part of [url.hostname, url.pathname, url.password]) decodeURIComponent(part)
    return url
  } catch {
    return undefined
  }
}

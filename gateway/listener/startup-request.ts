/** What a client asks for in its startup packet. */
import { PROTOCOL_3, startupParameters } from '../../core/wire/startup-packet.js'
import { fatal, refusal } from '../auth/refusal.js'
import type { ServerError } from '../wire/server-error.js'
import { refused } from './login-refused.js'

export interface StartupRequest {
  readonly role: string
  readonly database: string
  /** All other parameters of the session. */
  readonly parameters: ReadonlyMap<string, string>
  /** Protocol options (`_pq_.`) that the gateway does not know. */
  readonly unknownOptions: readonly string[]
  /** Whether the client must be told of the version that it gets, or of options that it does not get. */
  readonly needsNegotiation: boolean
}

/** Reads a startup packet, or throws a refusal. */
export function parseStartup(packet: Buffer): StartupRequest {
  const version = packet.readInt32BE(4)
  const major = version >>> 16
  const minor = version & 0xffff
  if (major !== PROTOCOL_3 >>> 16) {
    const text = `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.0`
    throw violation(text, fatal('0A000', text))
  }
  const given = startupParameters(packet)
  if (given === undefined) {
    const text = 'invalid startup packet layout: expected terminator as last byte'
    throw violation(text, fatal('08P01', text))
  }
  const role = given.get('user') ?? ''
  if (role === '') {
    const text = 'no PostgreSQL user name specified in startup packet'
    throw violation(text, fatal('28000', text))
  }
  refuseReplication(given.get('replication'))
  const unknownOptions = [...given.keys()].filter((name) => name.startsWith('_pq_.'))
  const parameters = new Map(given)
  for (const name of ['user', 'database', 'replication', ...unknownOptions]) parameters.delete(name)
  return {
    role,
    // As PostgreSQL does where no database is named.
    database: given.get('database') || role,
    parameters,
    unknownOptions,
    needsNegotiation: minor > 0 || unknownOptions.length > 0,
  }
}

/** A replication connection speaks another protocol after its login, and reads every database. */
function refuseReplication(value: string | undefined): void {
  if (value === undefined || ['false', 'off', 'no', '0'].includes(value.toLowerCase())) return
  const told = fatal('0A000', 'replication connections are not supported')
  throw refused(
    refusal('replication-refused', 'the client asked for a replication connection', told),
  )
}

function violation(explanation: string, told: ServerError): Error {
  return refused(refusal('protocol-violation', explanation, told))
}

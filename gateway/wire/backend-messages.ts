/** Writes the messages that a PostgreSQL server sends. */
import { BackendType } from './message-types.js'
import type { ServerError } from './server-error.js'

/** Asks the client for its password as it is, which is how IAM tokens travel. */
export function authenticationCleartextPassword(): Buffer {
  return message(BackendType.authentication, int32(3))
}

/** Asks the client for the MD5 hash of its password and this salt of four bytes. */
export function authenticationMd5Password(salt: Buffer): Buffer {
  return message(BackendType.authentication, int32(5), salt)
}

/** Offers the client SASL mechanisms, the preferred one first. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return message(BackendType.authentication, int32(10), ...mechanisms.map(cString), Buffer.alloc(1))
}

export function authenticationSaslContinue(data: string): Buffer {
  return message(BackendType.authentication, int32(11), Buffer.from(data))
}

export function authenticationSaslFinal(data: string): Buffer {
  return message(BackendType.authentication, int32(12), Buffer.from(data))
}

export function authenticationOk(): Buffer {
  return message(BackendType.authentication, int32(0))
}

/** The key that a later cancel request must name. */
export function backendKeyData(processId: number, secretKey: number): Buffer {
  return message(BackendType.backendKeyData, int32(processId), int32(secretKey))
}

/**
 * Tells a client that asked for a newer minor version, or for protocol options, what it can have instead.
 *
 * @param version the newest supported version, major and minor: libpq refuses a minor number alone
 */
export function negotiateProtocolVersion(
  version: number,
  unknownOptions: readonly string[],
): Buffer {
  return message(
    BackendType.negotiateProtocolVersion,
    int32(version),
    int32(unknownOptions.length),
    ...unknownOptions.map(cString),
  )
}

export function parameterStatus(name: string, value: string): Buffer {
  return message(BackendType.parameterStatus, cString(name), cString(value))
}

/** @param status `I` outside a transaction, `T` in one, `E` in one that failed */
export function readyForQuery(status: 'I' | 'T' | 'E'): Buffer {
  return message(BackendType.readyForQuery, Buffer.from(status, 'latin1'))
}

export function errorResponse(error: ServerError): Buffer {
  const fields: [code: string, value: string | undefined][] = [
    ['S', error.severity],
    // Not translated by anybody, unlike `S`; sent since PostgreSQL 9.6.
    ['V', error.severity],
    ['C', error.sqlState],
    ['M', error.message],
    ['D', error.detail],
    ['H', error.hint],
  ]
  const present = fields.flatMap(([code, value]) =>
    value === undefined ? [] : [cString(code + value)],
  )
  return message(BackendType.errorResponse, ...present, Buffer.alloc(1))
}

/** Puts a type byte and a length in front of a body. */
export function message(type: number, ...body: readonly Buffer[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, 4)
  const header = Buffer.alloc(5)
  header[0] = type
  header.writeInt32BE(length, 1)
  return Buffer.concat([header, ...body], length + 1)
}

/** A text as the protocol has it, NUL at its end. A NUL within would end it early, so it becomes a blank. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text.replaceAll('\0', ' ')}\0`, 'utf8')
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

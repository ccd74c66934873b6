/** Messages of a PostgreSQL server, built byte by byte, so that the tests do not depend on the code under test. */

/** A message with its type byte and length. */
export function message(type: string, ...parts: (string | Buffer | number)[]): Buffer {
  const body = Buffer.concat(parts.map(bytesOf))
  const header = Buffer.alloc(5)
  header.write(type, 0, 'latin1')
  header.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

/** A NUL-terminated string. */
export function cString(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

export const AUTHENTICATION_OK: Buffer = message('R', 0)
export const CLEARTEXT_REQUEST: Buffer = message('R', 3)
export const SCRAM_REQUEST: Buffer = message('R', 10, cString('SCRAM-SHA-256'), Buffer.from([0]))
export const READY: Buffer = message('Z', Buffer.from('I'))

/** The messages after `AuthenticationOk` of a server that is ready for queries. */
export const GREETING: Buffer = Buffer.concat([
  message('S', cString('server_version'), cString('16.0')),
  message('S', cString('client_encoding'), cString('UTF8')),
  message('K', 4711, 1234),
  READY,
])

export function md5Request(salt: Buffer): Buffer {
  return message('R', 5, salt)
}

export function errorResponse(code: string, text: string, severity = 'FATAL'): Buffer {
  const fields = { S: severity, V: severity, C: code, M: text }
  return message(
    'E',
    ...Object.entries(fields).map(([name, value]) => cString(name + value)),
    Buffer.from([0]),
  )
}

/** The reply to a simple query: one column `a` of type text with one row. */
export function textRow(value: string): Buffer {
  const column = Buffer.concat([
    cString('a'),
    int32(0),
    int16(0),
    int32(25),
    int16(-1),
    int32(-1),
    int16(0),
  ])
  const bytes = Buffer.from(value)
  return Buffer.concat([
    message('T', int16(1), column),
    message('D', int16(1), bytes.length, bytes),
    message('C', cString('SELECT 1')),
    READY,
  ])
}

function bytesOf(part: string | Buffer | number): Buffer {
  if (typeof part === 'number') return int32(part)
  return typeof part === 'string' ? Buffer.from(part) : part
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

/** The messages of the PostgreSQL protocol 3: type bytes, and writers for the messages that a server sends. */

/** Messages that a client sends after its startup packet. */
export const FrontendType = {
  bind: 0x42, // B
  close: 0x43, // C
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  describe: 0x44, // D
  execute: 0x45, // E
  flush: 0x48, // H
  functionCall: 0x46, // F
  parse: 0x50, // P
  /** PasswordMessage, SASLInitialResponse or SASLResponse. */
  password: 0x70, // p
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
} as const

/** Messages that a server sends. */
export const BackendType = {
  authentication: 0x52, // R
  backendKeyData: 0x4b, // K
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  commandComplete: 0x43, // C
  copyBothResponse: 0x57, // W
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  dataRow: 0x44, // D
  emptyQueryResponse: 0x49, // I
  errorResponse: 0x45, // E
  negotiateProtocolVersion: 0x76, // v
  noData: 0x6e, // n
  noticeResponse: 0x4e, // N
  notificationResponse: 0x41, // A
  parameterDescription: 0x74, // t
  parameterStatus: 0x53, // S
  parseComplete: 0x31, // 1
  portalSuspended: 0x73, // s
  readyForQuery: 0x5a, // Z
  rowDescription: 0x54, // T
} as const

/** The kinds of authentication request. */
export const AuthenticationRequest = {
  ok: 0,
  cleartextPassword: 3,
  md5Password: 5,
  gss: 7,
  gssContinue: 8,
  sspi: 9,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const

/** The transaction status in ReadyForQuery. */
export const TransactionStatus = {
  idle: 0x49, // I
  inTransaction: 0x54, // T
  failed: 0x45, // E
} as const

/** The length of a type byte and a length word. */
export const HEADER_BYTES = 5

/** Asks the client for its password in cleartext. IAM tokens are sent this way. */
export function authenticationCleartextPassword(): Buffer {
  return encodeMessage(BackendType.authentication, int32(AuthenticationRequest.cleartextPassword))
}

/** Asks the client for the MD5 hash of its password and the given salt of four bytes. */
export function authenticationMd5Password(salt: Buffer): Buffer {
  return encodeMessage(BackendType.authentication, int32(AuthenticationRequest.md5Password), salt)
}

/** Offers SASL mechanisms, in order of preference. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return encodeMessage(
    BackendType.authentication,
    int32(AuthenticationRequest.sasl),
    ...mechanisms.map(cString),
    Buffer.alloc(1),
  )
}

export function authenticationSaslContinue(data: string): Buffer {
  return encodeMessage(
    BackendType.authentication,
    int32(AuthenticationRequest.saslContinue),
    Buffer.from(data),
  )
}

export function authenticationSaslFinal(data: string): Buffer {
  return encodeMessage(
    BackendType.authentication,
    int32(AuthenticationRequest.saslFinal),
    Buffer.from(data),
  )
}

export function authenticationOk(): Buffer {
  return encodeMessage(BackendType.authentication, int32(AuthenticationRequest.ok))
}

/** The key that a cancel request must contain. */
export function backendKeyData(processId: number, secretKey: number): Buffer {
  return encodeMessage(BackendType.backendKeyData, int32(processId), int32(secretKey))
}

/**
 * Answers a client that asked for a newer minor version, or for protocol options.
 *
 * @param version the newest supported version, with its major number: libpq rejects a minor number alone
 */
export function negotiateProtocolVersion(
  version: number,
  unknownOptions: readonly string[],
): Buffer {
  return encodeMessage(
    BackendType.negotiateProtocolVersion,
    int32(version),
    int32(unknownOptions.length),
    ...unknownOptions.map(cString),
  )
}

export function parameterStatus(name: string, value: string): Buffer {
  return encodeMessage(BackendType.parameterStatus, cString(name), cString(value))
}

/** @param status `I` outside a transaction, `T` in a transaction, `E` in a failed transaction */
export function readyForQuery(status: 'I' | 'T' | 'E'): Buffer {
  return encodeMessage(BackendType.readyForQuery, Buffer.from(status, 'latin1'))
}

/** Prepends a type byte and a length to a body. */
export function encodeMessage(type: number, ...body: readonly Buffer[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, 4)
  const header = Buffer.alloc(HEADER_BYTES)
  header[0] = type
  header.writeInt32BE(length, 1)
  return Buffer.concat([header, ...body], length + 1)
}

/** A NUL-terminated string. A NUL in `text` would end the string early, so it is replaced with a space. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text.replaceAll('\0', ' ')}\0`, 'utf8')
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

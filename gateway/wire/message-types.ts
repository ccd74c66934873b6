/** The type bytes of the PostgreSQL protocol 3, by name. */

/** What a client sends after its startup packet. */
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
  /** A password, or what SASL sends. */
  password: 0x70, // p
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
} as const

/** What a server sends, as far as the gateway looks at it. */
export const BackendType = {
  authentication: 0x52, // R
  backendKeyData: 0x4b, // K
  commandComplete: 0x43, // C
  errorResponse: 0x45, // E
  negotiateProtocolVersion: 0x76, // v
  noticeResponse: 0x4e, // N
  parameterStatus: 0x53, // S
  readyForQuery: 0x5a, // Z
} as const

/** The first packets of a PostgreSQL connection, which have no type byte: startup packet, SSLRequest, CancelRequest. */
import { ProtocolViolation } from './framing.js'

export const PROTOCOL_3 = 0x0003_0000
export const CANCEL_REQUEST = 80_877_102
export const SSL_REQUEST = 80_877_103
export const GSSENC_REQUEST = 80_877_104

/** SSLRequest: asks the server to start TLS. */
export function sslRequestPacket(): Buffer {
  const packet = Buffer.alloc(8)
  packet.writeInt32BE(8, 0)
  packet.writeInt32BE(SSL_REQUEST, 4)
  return packet
}

/** Writes a startup packet. Throws a `ProtocolViolation` for a name or value with a NUL, which would inject a parameter. */
export function startupPacket(
  parameters: ReadonlyMap<string, string>,
  version: number = PROTOCOL_3,
): Buffer {
  for (const [name, value] of parameters) {
    if (`${name}${value}`.includes('\0'))
      throw new ProtocolViolation(`"${name.split('\0')[0]}" must not contain a NUL`)
  }
  const body = [...parameters].map(([name, value]) => `${name}\0${value}\0`).join('') + '\0'
  const packet = Buffer.alloc(8 + Buffer.byteLength(body))
  packet.writeInt32BE(packet.length, 0)
  packet.writeInt32BE(version, 4)
  packet.write(body, 8)
  return packet
}

/**
 * Parses the parameters of a complete startup packet. Returns `undefined` for a malformed packet: a string without its NUL, a name without
 * a value, or bytes after the final NUL.
 */
export function startupParameters(packet: Buffer): Map<string, string> | undefined {
  const parameters = new Map<string, string>()
  let offset = 8
  for (;;) {
    const nameEnd = packet.indexOf(0, offset)
    if (nameEnd === -1) return undefined
    if (nameEnd === offset) return nameEnd === packet.length - 1 ? parameters : undefined
    const valueEnd = packet.indexOf(0, nameEnd + 1)
    if (valueEnd === -1) return undefined
    parameters.set(
      packet.toString('utf8', offset, nameEnd),
      packet.toString('utf8', nameEnd + 1, valueEnd),
    )
    offset = valueEnd + 1
  }
}

/** Finds the first packet of a driver in what it writes. */

export interface FirstPacket {
  /** Takes what the driver wrote. Returns its first packet once that is whole. */
  push(chunk: Buffer): Buffer | undefined
}

/**
 * A startup parameter that is left out of what the server gets. A driver that buffers small writes can be made to send its
 * startup packet at once by giving this one a long value.
 */
export const PADDING_PARAMETER = 'pg_iam.padding'

/**
 * Creates the finder. What stands in front of the packet is dropped: where a connection dies while a statement waits to be
 * written, Postgres.js (3.4) keeps the statement, and writes it in front of the startup packet of the slot's next connection.
 * A packet without a type byte begins with the high byte of its length, which is 0, and no message does.
 */
export function createFirstPacket(): FirstPacket {
  let pending: Buffer = Buffer.alloc(0)
  return {
    push(chunk) {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= TYPED_HEADER_BYTES && pending[0] !== 0) {
        const length = 1 + pending.readInt32BE(1)
        if (length < TYPED_HEADER_BYTES || pending.length < length) return undefined
        pending = pending.subarray(length)
      }
      const isWhole =
        pending.length >= SMALLEST_PACKET_BYTES && pending.length >= pending.readInt32BE(0)
      return isWhole ? pending : undefined
    },
  }
}

/** Type byte and length. */
const TYPED_HEADER_BYTES = 5
/** Length and code. */
const SMALLEST_PACKET_BYTES = 8

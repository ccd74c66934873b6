/** The message by which a server says that it waits for the next request. */

/** Outside of a transaction. */
export const READY_FOR_QUERY_IDLE: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** In a transaction. */
export const READY_FOR_QUERY_IN_TRANSACTION: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x54])

/** In a transaction that has failed. */
export const READY_FOR_QUERY_FAILED: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x45])

/** Tells whether `chunk` ends with that message. One that is split over two chunks is not seen. */
export function endsReadyAndIdle(chunk: Buffer): boolean {
  // Byte by byte: it is asked of every reply.
  const begin = chunk.length - READY_FOR_QUERY_IDLE.length
  return (
    begin >= 0 &&
    chunk[begin] === READY_FOR_QUERY_IDLE[0] &&
    chunk.readInt32BE(begin + 1) === READY_FOR_QUERY_IDLE.readInt32BE(1) &&
    chunk[begin + 5] === READY_FOR_QUERY_IDLE[5]
  )
}

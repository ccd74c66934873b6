/** The message by which a server says that it waits for the next request. */

/** Outside of a transaction. */
export const READY_FOR_QUERY_IDLE: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** In a transaction. */
export const READY_FOR_QUERY_IN_TRANSACTION: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x54])

/** In a transaction that has failed. */
export const READY_FOR_QUERY_FAILED: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x45])

/** Tells whether `chunk` ends with that message. One that is split over two chunks is not seen. */
export function endsReadyAndIdle(chunk: Buffer): boolean {
  const { length } = READY_FOR_QUERY_IDLE
  return (
    chunk.length >= length &&
    chunk.compare(READY_FOR_QUERY_IDLE, 0, length, chunk.length - length) === 0
  )
}

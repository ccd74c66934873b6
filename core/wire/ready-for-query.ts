/** The message by which a server says that it waits for the next request. */

/** Outside of a transaction. */
export const READY_FOR_QUERY_IDLE: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** In a transaction that has failed. */
export const READY_FOR_QUERY_FAILED: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x45])

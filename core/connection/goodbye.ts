/** How a client leaves a server. */
import type { Socket } from 'node:net'

/** Ends a connection in good order. A server that does not close within five seconds is not waited for. */
export function sayGoodbye(socket: Socket): void {
  socket.setTimeout(LONGEST_WAIT_MS, () => socket.destroy()).end(TERMINATE)
}

/** Tells whether a driver says with these bytes that it leaves. */
export function isGoodbye(bytes: Buffer): boolean {
  // By the length first: it is asked of every request.
  return bytes.length === TERMINATE.length && bytes.equals(TERMINATE)
}

const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4])
const LONGEST_WAIT_MS = 5_000

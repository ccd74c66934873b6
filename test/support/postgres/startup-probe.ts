/** Asks a server with a real startup packet whether it is ready. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createMessageReader, type Message } from '../../../core/wire/message-reader.js'
import { startupPacket } from '../../../core/wire/startup-packet.js'

const PROBE_INTERVAL_MS = 20
const LONGEST_REPLY_BYTES = 65_536

/** Waits until the server at this Unix socket answers a startup packet with anything but 57P03, "the database system is starting up". */
export async function waitForStartup(
  socketPath: string,
  user: string,
  timeoutMs: number,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (isStartingUp(await firstReply(socketPath, user))) {
    if (Date.now() > deadline)
      throw new Error(`PostgreSQL was still starting up after ${timeoutMs} ms`)
    // A server has no way to announce that it is ready, other than to be asked again.
    await delay(PROBE_INTERVAL_MS)
  }
}

async function firstReply(socketPath: string, user: string): Promise<Message> {
  const socket = connect(socketPath)
  try {
    await once(socket, 'connect')
    socket.write(startupPacket(new Map(Object.entries({ user, database: 'postgres' }))))
    const reader = createMessageReader(LONGEST_REPLY_BYTES)
    for await (const chunk of socket) {
      const [reply] = reader.push(chunk)
      if (reply !== undefined) return reply
    }
    throw new Error(`the server at ${socketPath} closed the connection without a reply`)
  } finally {
    socket.destroy()
  }
}

function isStartingUp({ type, bytes }: Message): boolean {
  return type === 'E'.charCodeAt(0) && bytes.includes('C57P03\0')
}

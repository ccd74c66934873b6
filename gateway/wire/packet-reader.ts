/** Reads a socket piece by piece, for the part of a connection in which each side waits for the other. */
import type { Socket } from 'node:net'

export interface PacketReader {
  /**
   * Resolves with exactly `length` bytes. Rejects with the socket's error, or an `ECONNRESET` when the other side has closed.
   * One call at a time.
   */
  read(length: number): Promise<Buffer>
  /** How many bytes were received and not read. They stay in the socket. */
  readonly buffered: number
}

/** Creates a reader. Between two calls it has no listener on the socket, which can then be handed on. */
export function createPacketReader(socket: Socket): PacketReader {
  return {
    read: (length) => readExactly(socket, length),
    get buffered() {
      return socket.readableLength
    },
  }
}

function readExactly(socket: Socket, length: number): Promise<Buffer> {
  if (length === 0) return Promise.resolve(Buffer.alloc(0))
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('readable', take).off('end', ended).off('close', ended).off('error', fail)
    }
    const take = (): void => {
      const bytes = socket.read(length) as Buffer | null
      if (bytes === null) return
      // At the end of the stream, `read` returns whatever is left.
      if (bytes.length < length) ended()
      else {
        settle()
        resolve(bytes)
      }
    }
    const fail = (error: Error): void => {
      settle()
      reject(error)
    }
    const ended = (): void => fail(connectionClosed())
    if (socket.destroyed || socket.readableEnded) {
      reject(connectionClosed())
      return
    }
    socket.on('readable', take).on('end', ended).on('close', ended).on('error', fail)
    take()
  })
}

export function connectionClosed(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })
}

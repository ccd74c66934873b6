/** Reads exact numbers of bytes from a socket, so that a server stand-in can be written as a sequence of steps. */
import type { Duplex } from 'node:stream'

export interface ByteReader {
  /** Resolves with exactly `count` bytes. Rejects if the socket ends before. */
  read(count: number): Promise<Buffer>
  /** A packet without a type byte: a length word and the bytes that it counts. */
  packet(): Promise<Buffer>
  /** A message with type byte and length word. */
  message(): Promise<Buffer>
  /** Detaches from the socket. Unread bytes are put back. */
  release(): void
}

export function createByteReader(socket: Duplex): ByteReader {
  let chunks: Buffer[] = []
  let size = 0
  let wake: (() => void) | undefined
  let hasEnded = false
  const take = (chunk: Buffer): void => {
    chunks.push(chunk)
    size += chunk.length
    wake?.()
  }
  const end = (): void => {
    hasEnded = true
    wake?.()
  }
  // A socket that another reader paused does not resume automatically.
  socket.on('data', take).on('end', end).on('close', end).resume()

  const read = async (count: number): Promise<Buffer> => {
    const isShort = (): boolean => size < count
    while (isShort()) {
      if (hasEnded) throw new Error(`the client left after ${size} of ${count} bytes`)
      await new Promise<void>((resolve) => (wake = resolve))
    }
    const bytes = Buffer.concat(chunks)
    chunks = [bytes.subarray(count)]
    size = bytes.length - count
    return bytes.subarray(0, count)
  }
  const rest = async (header: Buffer, lengthAt: number): Promise<Buffer> =>
    Buffer.concat([header, await read(header.readInt32BE(lengthAt) + lengthAt - header.length)])
  return {
    read,
    packet: async () => rest(await read(4), 0),
    message: async () => rest(await read(5), 1),
    release() {
      socket.off('data', take).off('end', end).off('close', end).pause()
      if (size > 0) socket.unshift(Buffer.concat(chunks))
    },
  }
}

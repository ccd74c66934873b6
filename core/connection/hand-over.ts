/** Lets pg use the TLS socket itself, once it is logged in: nothing of ours but a look stands between the two then. */
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Activity } from './idle-retirement.js'
import type { Reception } from './reception.js'

/**
 * What has a stream, as pg's connection (8.20 to 8.23) does. It reads `stream` anew for whatever it does, because it puts the TLS
 * socket there itself where it has begun TLS.
 */
export interface StreamHolder {
  stream: unknown
  /** Whether it has said goodbye. */
  readonly _ending?: boolean
}

export interface HandOver {
  holder: StreamHolder
  /** Whose listeners stay, but for the one for data: it goes on to tell whatever else they are to hear. */
  stream: Duplex
  socket: TLSSocket
  /** What gives the stream its data so far, a listener of the socket. */
  deliver: (chunk: Buffer) => void
  /** Sees what the holder is about to read. */
  reception: Reception
  /** Whether anybody is going to ask for `unansweredBytes`. */
  counts: boolean
  /** Is called when the holder has read the last words of the server. */
  heardLast: () => void
}

/** A socket that was handed over. */
export interface HandedOver {
  /** What was written since the server has last waited for a request outside of any transaction. */
  readonly unansweredBytes: number
  /** Whether the holder has ended the connection by itself. */
  readonly hasLeft: boolean
}

export function isStreamHolder(value: unknown): value is StreamHolder {
  return typeof value === 'object' && value !== null && 'stream' in value
}

/** Gives the holder the socket in the place of the stream. Returns nothing where anybody else reads from that; then it does nothing. */
export function handOver(request: HandOver): HandedOver | undefined {
  const { holder, stream, socket, deliver, reception, counts, heardLast } = request
  const [reader, ...others] = stream.rawListeners('data') as ((chunk: Buffer) => void)[]
  // One that listens once would look for itself at the stream.
  const isPlain = reader !== undefined && others.length === 0 && !('listener' in reader)
  if (!isPlain || holder.stream !== stream) return undefined
  let answeredBytes = socket.bytesWritten
  stream.off('data', reader)
  // One listener, because an event that has two costs more than what is seen here. And who takes the reader away for a while, to
  // read a COPY himself, takes this away, too, which would see twice what he puts back.
  socket.off('data', deliver).on('data', (chunk: Buffer) => {
    reception.received(chunk)
    if (counts && reception.isAnswered) answeredBytes = socket.bytesWritten
    if (reception.lastWords !== undefined) process.nextTick(heardLast)
    reader(chunk)
  })
  Object.defineProperty(socket, STREAM, { value: stream })
  holder.stream = socket
  return {
    get unansweredBytes() {
      return socket.bytesWritten - answeredBytes
    },
    get hasLeft() {
      return holder._ending === true || socket.writableEnded || socket.destroyed
    },
  }
}

/** What a connection does, whoever has its socket. */
export function activityOf(
  reception: Reception,
  handedOver: () => HandedOver | undefined,
): Activity {
  return {
    get isIdle() {
      return reception.isIdle && (handedOver()?.unansweredBytes ?? 0) === 0
    },
    get traffic() {
      return reception.traffic
    },
  }
}

/** The stream that a socket was handed over by, or what is given. */
export function streamBehind(given: object): object {
  return (given as { [STREAM]?: object })[STREAM] ?? given
}

/** The package's other copy knows it, too. */
const STREAM: unique symbol = Symbol.for('pg-iam.stream') as never

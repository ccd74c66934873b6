/** Which stream is closing, for what Postgres.js tells of a closed connection without saying why. */
import { isPgIamError } from '../../core/errors.js'

/** A stream of ours, by what the two copies of the package have in common. */
export interface ClosingStream {
  readonly loss?: Error | undefined
  readonly errored?: Error | null
  readonly hasUnsent?: boolean
}

/**
 * Has a stream known as the one that is closing, for those who hear of its `close` event. To be called before anybody else listens:
 * Postgres.js tells whoever has a connection that it is closed within that event, and neither which one that is nor why.
 */
export function announceClosing<T extends ClosingStream & NodeJS.EventEmitter>(stream: T): T {
  stream.once('close', () => {
    closing().stream = stream
    process.nextTick(() => {
      delete closing().stream
    })
  })
  return stream
}

const CLOSING: unique symbol = Symbol.for('pg-iam.closing') as never

/** One for the ESM and the CommonJS copy of the package. */
export function closing(): { stream?: ClosingStream } {
  const holder = globalThis as { [CLOSING]?: { stream?: ClosingStream } }
  return (holder[CLOSING] ??= {})
}

/** What the server said where it did; else what Postgres.js says, whose code is known to its users, with what happened as its cause. */
export function closeError(error: unknown, loss: Error | undefined): unknown {
  if (loss?.name === 'PostgresError' || isPgIamError(loss)) return loss
  if (loss !== undefined && typeof error === 'object' && error !== null)
    Object.defineProperty(error, 'cause', { value: loss, configurable: true, writable: true })
  return error
}

/** The SASLInitialResponse of a client. */
import { frontend, int32, text } from '../../wire/frontend-messages.js'

export function sasl(mechanism: string, first: string): Buffer {
  return frontend('p', text(mechanism), int32(Buffer.byteLength(first)), Buffer.from(first))
}

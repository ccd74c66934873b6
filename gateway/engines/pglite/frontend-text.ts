/** Reads and replaces the texts at the beginning of frontend messages. */
import { cString, message } from '../../wire/backend-messages.js'
import { HEADER_BYTES } from '../../../core/wire/message-reader.js'

/** The text at `offset` and where the next part of the message begins. */
export function textAt(bytes: Buffer, offset: number): { text: string; end: number } {
  const nul = bytes.indexOf(0, offset)
  const end = nul === -1 ? bytes.length : nul
  return { text: bytes.toString('utf8', offset, end), end: end + 1 }
}

/** The message with other bytes in place of those from `start` to `end`, as a NUL-terminated text. */
export function withText(bytes: Buffer, start: number, end: number, text: string): Buffer {
  return message(bytes[0]!, bytes.subarray(HEADER_BYTES, start), cString(text), bytes.subarray(end))
}

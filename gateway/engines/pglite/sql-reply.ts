/** Reads the reply to SQL of the engine's own. */
import {
  createMessageReader,
  HEADER_BYTES,
  type Message,
} from '../../../core/wire/message-reader.js'

/** An error that PostgreSQL reported, as far as it is passed on. */
export interface Refusal {
  readonly sqlState: string
  readonly message: string
}

/** The rows of all results of the reply, each as the texts of its columns. */
export function rowsOf(reply: Buffer): (string | null)[][] {
  return messagesOf(reply)
    .filter(({ type }) => type === DATA_ROW)
    .map(({ bytes }) => columnsOf(bytes))
}

/** The first error in the reply. */
export function refusalOf(reply: Buffer): Refusal | undefined {
  const error = messagesOf(reply).find(({ type }) => type === ERROR_RESPONSE)
  if (error === undefined) return undefined
  const fields = error.bytes.toString('utf8', HEADER_BYTES).split('\0')
  const field = (code: string): string =>
    fields.find((text) => text.startsWith(code))?.slice(1) ?? ''
  return { sqlState: field('C'), message: field('M') }
}

const DATA_ROW = 'D'.charCodeAt(0)
const ERROR_RESPONSE = 'E'.charCodeAt(0)

function messagesOf(reply: Buffer): Message[] {
  return createMessageReader(reply.length).push(reply)
}

function columnsOf(row: Buffer): (string | null)[] {
  const columns: (string | null)[] = []
  let offset = HEADER_BYTES + 2
  for (let left = row.readInt16BE(HEADER_BYTES); left > 0; left--) {
    const length = row.readInt32BE(offset)
    offset += 4
    columns.push(length === -1 ? null : row.toString('utf8', offset, offset + length))
    offset += Math.max(length, 0)
  }
  return columns
}

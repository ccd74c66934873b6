/**
 * The reply to a request that a client makes by itself, and whose failure it does not handle: both Postgres.js (3.4) and
 * Sequelize (6) ask for types when they have logged in, and an error in this place ends the process, or leaks the connection.
 */
import { createMessageReader } from '../wire/message-reader.js'
import { READY_FOR_QUERY_IDLE } from '../wire/ready-for-query.js'

export interface UnattendedReply {
  /** Takes what came. Returns the reply once it is whole: that of the server, or one without any rows where that is an error. */
  push(bytes: Buffer): Buffer | undefined
  /** What came of a reply that is not whole. */
  kept(): Buffer
}

export function createUnattendedReply(): UnattendedReply {
  const reader = createMessageReader(MAX_MESSAGE_BYTES)
  const chunks: Buffer[] = []
  let isError = false
  return {
    push(bytes) {
      chunks.push(bytes)
      const messages = reader.push(bytes)
      isError ||= messages.some(({ type }) => type === ERROR_RESPONSE)
      if (!messages.some(({ type }) => type === READY_FOR_QUERY)) return undefined
      return isError ? READY_FOR_QUERY_IDLE : Buffer.concat(chunks)
    },
    kept: () => Buffer.concat(chunks),
  }
}

const MAX_MESSAGE_BYTES = 0x3fff_ffff
const ERROR_RESPONSE = 'E'.charCodeAt(0)
const READY_FOR_QUERY = 'Z'.charCodeAt(0)

/** The frontend messages that the engine itself sends to PostgreSQL. */
import { cString, message } from '../../wire/backend-messages.js'
import { FrontendType } from '../../wire/message-types.js'

export const SYNC: Buffer = message(FrontendType.sync)

/** Ends a COPY whose client is gone. Outside of a COPY it is ignored. */
export const COPY_FAIL: Buffer = message(FrontendType.copyFail, cString('the client is gone'))

/** Ends a COPY into which another message came. */
export const COPY_VIOLATION: Buffer = message(
  FrontendType.copyFail,
  cString('unexpected message during COPY from stdin'),
)

/** Ends a batch whose client is gone, and undoes what was done in it. A Sync alone would commit that. */
export const ABORT_BATCH: Buffer = Buffer.concat([
  message(FrontendType.parse, cString(''), cString('no such statement'), Buffer.alloc(2)),
  SYNC,
])

export function simpleQuery(sql: string): Buffer {
  return message(FrontendType.query, cString(sql))
}

export function closeStatement(name: string): Buffer {
  return message(FrontendType.close, Buffer.from('S', 'latin1'), cString(name))
}

/** Carries the replies of one session to its client, and looks at those that concern the engine. */
import { HEADER_BYTES } from '../../../core/wire/message-reader.js'
import { BackendType } from '../../wire/message-types.js'
import { translateError } from './error-translation.js'
import { textAt } from './frontend-text.js'
import type { PreparedStatements } from './prepared-statements.js'
import type { CancelReason } from './watchdog.js'
import { createReplyFilter, type ReplyFilter, type ReplyHandler } from './reply-filter.js'

export interface ReplyEvents {
  /** Why the engine has cancelled the running statement, if it has. */
  reasonOfCancel(): CancelReason | undefined
  /** A CommandComplete. */
  onComplete(tag: string): void
  onError(): void
  /** A NotificationResponse, for whomever it may concern. Tells whether that includes this session. */
  onNotification(message: Buffer): boolean
}

export function createSessionReplies(
  prepared: PreparedStatements,
  events: ReplyEvents,
): ReplyFilter {
  const handlers = new Map<number, ReplyHandler>([
    [PARSE_COMPLETE, (message) => (prepared.parseComplete() ? message : undefined)],
    [CLOSE_COMPLETE, passing(() => prepared.closeComplete())],
    [BackendType.readyForQuery, passing(() => prepared.ready())],
    [
      BackendType.commandComplete,
      passing((message) => completed(textAt(message, HEADER_BYTES).text)),
    ],
    [BackendType.errorResponse, failed],
    [NOTIFICATION_RESPONSE, (message) => (events.onNotification(message) ? message : undefined)],
  ])

  function completed(tag: string): void {
    if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') prepared.dropAll()
    events.onComplete(tag)
  }
  function failed(message: Buffer): Buffer {
    prepared.failed()
    events.onError()
    return translateError(message, {
      cancelReason: events.reasonOfCancel(),
      toClient: prepared.toClient,
    })
  }
  return createReplyFilter(handlers)
}

const PARSE_COMPLETE = '1'.charCodeAt(0)
const CLOSE_COMPLETE = '3'.charCodeAt(0)
const NOTIFICATION_RESPONSE = 'A'.charCodeAt(0)

function passing(look: (message: Buffer) => void): ReplyHandler {
  return (message) => {
    look(message)
    return message
  }
}

/** Puts away what a session's SQL has left on the one connection before another has its turn, and brings it back. */
import { HEADER_BYTES } from '../../../core/wire/message-reader.js'
import { FrontendType } from '../../wire/message-types.js'
import { textAt, withText } from './frontend-text.js'
import type { Notifications } from './notifications.js'
import type { EngineStatements } from './prepared-statements.js'
import { inspectSql, type SqlFindings } from './sql-policy.js'
import { rowsOf } from './sql-reply.js'
import { catalogQuery, identifier } from '../../sql/sql-text.js'

/** Runs SQL in the session, between what its client runs. */
export type OwnQuery = (sql: string) => Promise<Buffer>

export interface SessionLeftovers {
  /** Looks at a message on its way to the engine. Returns it, or one that fails where the session asks for too much. */
  see(message: Buffer): Buffer
  /** A CommandComplete came. */
  completed(tag: string): void
  /** An ErrorResponse came. */
  failed(): void
  /** Whether `endTurn` has something to do. */
  readonly isDue: boolean
  /** Before the first batch of a turn, which has been seen. */
  beginTurn(query: OwnQuery): Promise<void>
  /** After the last batch of a turn, outside of a transaction. */
  endTurn(query: OwnQuery): Promise<void>
}

export function createSessionLeftovers(
  session: number,
  shared: EngineStatements,
  notifications: Notifications,
): SessionLeftovers {
  /** What PREPARE has made: all that was ever seen, and what is put away at the moment. */
  const preparing = new Map<string, string>()
  let parked: string[] = []
  const channels = new Set<string>()
  let readsSequence = false
  let mayBeTemporary = false
  let listened = false
  let prepared = false

  const note = (findings: SqlFindings): void => {
    for (const [name, text] of findings.prepared) preparing.set(name, text)
    for (const channel of findings.channels) channels.add(channel)
    mayBeTemporary ||= findings.isTemporary
    readsSequence ||= findings.readsSequence
  }
  const park = async (query: OwnQuery): Promise<void> => {
    const names = rowsOf(await query(NAMES_OF_PREPARED)).map(([name]) => name ?? '')
    parked = names.flatMap((name) => preparing.get(name) ?? [])
    if (names.length > 0)
      await query(names.map((name) => `DEALLOCATE ${identifier(name)}`).join('; '))
  }

  return {
    see(message) {
      const place = sqlPlace(message)
      if (place === undefined) return message
      const { text, end } = textAt(message, place)
      const findings = inspectSql(text)
      note(findings)
      if (findings.replacement === undefined) return message
      return withText(message, place, end, findings.replacement)
    },
    completed(tag) {
      if (tag === 'LISTEN' || tag === 'UNLISTEN' || tag === 'DISCARD ALL') listened = true
      if (tag === 'PREPARE' || tag.startsWith('DEALLOCATE') || tag === 'DISCARD ALL')
        prepared = true
      if (tag === 'ROLLBACK') channels.clear()
    },
    failed() {
      channels.clear()
    },
    get isDue() {
      return mayBeTemporary || listened || prepared
    },
    async beginTurn(query) {
      const isAnother = shared.lastSession !== session
      shared.lastSession = session
      if (isAnother) shared.unnamedOwner = undefined
      // An error is better than what a sequence gave to somebody else.
      if (isAnother && readsSequence) await query('DISCARD SEQUENCES')
      for (const statement of parked) await query(statement)
    },
    async endTurn(query) {
      if (mayBeTemporary) await query('DISCARD TEMP')
      mayBeTemporary = false
      if (listened) await notifications.update(session, channels, query)
      listened = false
      channels.clear()
      if (prepared || parked.length > 0) await park(query)
      prepared = false
    },
  }
}

const NAMES_OF_PREPARED = catalogQuery(
  'SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql',
)

/** Where the SQL of a Query or a Parse begins. */
function sqlPlace(message: Buffer): number | undefined {
  if (message[0] === FrontendType.query) return HEADER_BYTES
  return message[0] === FrontendType.parse ? textAt(message, HEADER_BYTES).end : undefined
}

/**
 * One session in DSQL mode: the state of its transaction, the requests that are answered, and what is changed on the way.
 *
 * A request is a Query, or the extended-protocol messages up to a Sync. The gateway adds requests of its own, whose replies the client does
 * not see: SAVEPOINT before a statement that changes or locks rows, ROLLBACK TO after a conflict, BEGIN and COMMIT around a statement that
 * may change too many rows.
 *
 * Whether a transaction is open has to be known before the next request is sent, so within a transaction requests wait here for the answer
 * to the one before. A request that writes and then commits is sent in parts, because the number of rows decides whether it may commit: the
 * client gets the ReadyForQuery of the last part. A Flush within a transaction ends a part, too.
 *
 * Known limits: a conflict is an error of the statement, not of COMMIT, if the client would have to get rows that are not known (RETURNING),
 * and if several statements share a request. Rows count by command tags: not those of cascades, and not those that `WITH` changes.
 */
import { randomBytes } from 'node:crypto'
import { errorFields, errorResponse, ServerError } from '../../wire/error-response.js'
import { ProtocolViolation } from '../../wire/framing.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  HEADER_BYTES,
  int32,
  parameterStatus,
  readyForQuery,
  TransactionStatus,
} from '../../wire/messages.js'
import type { SessionRewriter } from '../connection/session-rewriter.js'
import { conflictError } from '../faults/session-faults.js'
import { literal, statementsOf } from '../../core/sql.js'
import { judge, type Verdict } from './verdict.js'
import { SERVER_VERSION } from '../../dsql/settings.js'
import type { ParsedStatement, SqlParser } from '../../dsql/statement.js'
import type { Effect } from '../../dsql/rules.js'

/** A statement of the client's, and what the rules say about it. */
interface Judged {
  readonly statement: ParsedStatement
  readonly verdict: Verdict
}

interface Prepared extends Partial<Judged> {
  /** The text for the engine. */
  readonly sql: string
  /** The types of parameters in the Parse message, as bytes. */
  readonly types: Buffer
}

interface Portal {
  readonly prepared: Prepared
  /** The Bind message after the names. */
  readonly values: Buffer
}

/** A message of the client's. */
interface Message {
  readonly type: number
  readonly bytes: Buffer
}

/** What the client sent up to a point where the engine answers. */
interface Unit {
  readonly messages: Message[]
  /** The type of the last message. {@link QUERY_FOLLOWS} if the next one belongs to another unit. */
  ends: number
  /** The rest of a Query, whose first statements were sent. */
  readonly rest?: { readonly parsed: ParsedQuery; readonly from: number }
}

interface ParsedQuery {
  readonly sql: string
  readonly encoding: BufferEncoding
  readonly all: readonly Judged[]
}

/** The reply to one statement of a request. */
interface Result {
  readonly judged?: Judged | undefined
  readonly transaction?: Transaction
  /** Whether the reply belongs to a statement that the gateway has added. */
  readonly isOwn?: boolean
}

/** A request that the engine has not answered completely. */
interface Request {
  readonly isOwn: boolean
  /** The replies that are still expected. */
  readonly results: Result[]
  /** Types of replies that are dropped, as often as they are listed, and the number of rows. Used for statements of the gateway. */
  readonly dropped: number[]
  droppedRows: number
  /** The rows that the client has got. */
  rows: number
  /** Whether the rest up to ReadyForQuery is dropped, because the client has got an error of the gateway's, or has to wait. */
  isFailed: boolean
  /** Whether the client has got an error. */
  hasError: boolean
  /** Whether the error is that of a COMMIT, which ends the transaction. */
  isLost: boolean
  readonly isExtended: boolean
  /** The error of the engine in a request of the gateway, or the conflict of a guarded one. */
  error: ServerError | undefined
  /** The error of a key that exists. It is a conflict if the transaction can't see the row. */
  duplicate: Buffer | undefined
  /** Whether the client gets the end of the last statement when it is committed, as PostgreSQL does for a Query. */
  readonly keepsEnd: boolean
  kept: Buffer | undefined
  /** The types of replies so far: of those that tell whether a guarded statement has begun. */
  readonly seen: Set<number>
  /** The Parse messages that are not answered, and what the names denoted before. */
  readonly parses: { readonly name: string; readonly before: Prepared | undefined }[]
  /** Whether a conflict is kept from the client until its end is known. */
  readonly guard: Guard | undefined
  /** What the client has sent after it belongs to the same request: it gets no ReadyForQuery yet, and skips the rest after an error. */
  continuedBy: 'messages' | 'statements' | undefined
  /** The transaction of its first statement. */
  readonly transaction: Transaction | undefined
  /** Called with the transaction status when the request is complete. Returns the status for the client, or `undefined` if it must wait. */
  ready: (request: Request, status: number) => number | undefined
}

/** What is sent at once. */
interface Part {
  readonly out: Buffer[]
  readonly results: Result[]
  readonly changes?: readonly Judged[]
  /** Whether a transaction block was open before it. */
  readonly wasOpen: boolean
  /** Whether statements of the gateway may be sent as a Query. */
  readonly isSimple: boolean
  readonly isExtended?: boolean
  /** Whether the engine answers with ReadyForQuery. */
  readonly isWhole?: boolean
  /** Whether it begins or ends a transaction block. */
  readonly isTransactional?: boolean
  readonly continuedBy?: Request['continuedBy']
  readonly guard?: Guard | undefined
}

/** A statement that runs after a savepoint. */
interface Guard {
  readonly judged: Judged
  /** The last reply before the statement runs. */
  readonly startsAfter?: number | undefined
  /** Runs the statement again, without its locking clause. `undefined` if it can't be. */
  readonly again: { readonly messages: readonly Buffer[]; readonly dropped: number[] } | undefined
  /** Runs an INSERT again, so that it fails with a conflict if a row with its key exists that the transaction can't see. */
  readonly probe: readonly Buffer[] | undefined
  /** The messages of the request after the statement, which the engine skips after an error. */
  readonly rest: readonly Buffer[]
}

/** The state of the running transaction, as far as PostgreSQL does not know it. */
interface Transaction {
  hasDdl: boolean
  hasWritten: boolean
  /** The rows that INSERTs with VALUES may have added, and the rows and bytes that were written. */
  plannedRows: number
  rows: number
  bytes: number
  hasSavepoint: boolean
  /** Whether it lost a conflict, and fails at COMMIT. */
  isDoomed: boolean
  /** Epoch milliseconds. */
  readonly beganAt: number
  readonly catalogVersion: number
  /** What its DDL does outside of the engine. */
  readonly onCommit: (() => void)[]
}

/** The limits of a transaction: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
const MAX_ROWS = 3_000
const MAX_BYTES = 10 * 1024 * 1024

/** What the sessions of an endpoint share. */
export interface SessionContext {
  readonly parser: SqlParser
  readonly clock: () => number
  /** Whether any IAM principal was given the role. */
  isRole(role: string): boolean
  readonly hasSystemCatalog: boolean
  /** Whether transactions of several sessions run at the same time, so that they can conflict. */
  readonly isConcurrent: boolean
  readonly transactionAgeMs: number
  /** The longest message of a client, in bytes. */
  readonly maxMessageBytes: number
  /** Changes with each change of the schema. */
  readonly catalogVersion: number
  changeCatalog(): void
  /** Returns the verdict on a statement of which something is not known. */
  unknown(statement: ParsedStatement, verdict: Verdict): Verdict
  /** Takes over `AWS IAM GRANT` and `AWS IAM REVOKE`. */
  mapRole(mapping: { readonly isGrant: boolean; readonly role: string; readonly arn: string }): void
}

export function createDsqlSession(mode: SessionContext): SessionRewriter {
  /** Marks the errors of the rules among those of the engine. */
  const marker = `pg_iam ${randomBytes(9).toString('base64url')} `
  const statements = new Map<string, Prepared>()
  const portals = new Map<string, Portal>()
  /** The requests that were sent to the engine. The first one is the startup packet. */
  const sent: Request[] = [request({ isOwn: false })]
  /** Units of the client that wait for the answer to an earlier one. */
  const waiting: Unit[] = []
  let unit: Unit = { messages: [], ends: 0 }
  let unitBytes = 0
  let heldBytes = 0
  /** The request for whose end the client's next unit must wait. */
  let heldBy: Request | undefined
  /** Whether a transaction block is open, and whether it is aborted. Of a unit that is being sent: after its statements so far. */
  let isOpen = false
  /** Whether the engine waits for data of a COPY, whose end the client has not sent. */
  let isCopying = false
  let isAborted = false
  let transaction = newTransaction()
  /** The client's request whose Sync has not been sent, after a Flush. */
  let unfinished: Request | undefined
  /** Whether the client's messages are dropped up to a Sync, as the engine does after an error. */
  let isSkipping = false
  /** Why the savepoint before the running statement could not be set. */
  let savepointError: ServerError | undefined
  let toEngineLater: Buffer[] = []
  const whenIdle: (() => void)[] = []

  function newTransaction(): Transaction {
    return {
      hasDdl: false,
      hasWritten: false,
      plannedRows: 0,
      rows: 0,
      bytes: 0,
      hasSavepoint: false,
      isDoomed: false,
      beganAt: mode.clock(),
      catalogVersion: mode.catalogVersion,
      onCommit: [],
    }
  }
  const leaveBlock = (): void => {
    isOpen = false
    transaction = newTransaction()
  }

  // Errors.

  /** A statement that fails with this error, also when it is only parsed. */
  const failing = ({ sqlState, message, detail, hint, fields }: ServerError): string => {
    const told = JSON.stringify([sqlState, message, detail, hint, fields['position']])
    return `SELECT ${literal(marker + told)}::pg_catalog.int4`
  }
  /** The error of the rules in a message of the engine's, or its conflict in the words of Aurora DSQL. */
  const ownError = (response: Buffer): ServerError | undefined => {
    const fields = errorFields(response)
    const code = fields.get('C') ?? ''
    const message = fields.get('M') ?? ''
    // A conflict that is already in these words is a fault of the gateway's.
    if (CONFLICTS.has(code) && !message.includes('(OC00')) return conflictError('OC000')
    const start = message.indexOf(marker)
    if (code !== '22P02' || start === -1) return undefined
    const text = message.slice(start + marker.length, message.lastIndexOf(']') + 1)
    const [state, told, detail, hint, position] = JSON.parse(text) as string[]
    return new ServerError(state!, told!, {
      ...(detail && { detail }),
      ...(hint && { hint }),
      ...(position && { position }),
    })
  }

  const isOfRules = (response: Buffer): boolean => response.includes(marker)

  // Requests of the gateway.

  /** Whether the unit uses an unnamed statement or portal of an earlier one, which a Query of ours would destroy. */
  const usesEarlierUnnamed = (messages: readonly Message[]): boolean => {
    const creates = (kind: number): boolean =>
      messages.some(({ type, bytes }) => type === kind && textAt(bytes, HEADER_BYTES) === '')
    return (
      (statements.has('') && !creates(FrontendType.parse)) ||
      (portals.has('') && !creates(FrontendType.bind))
    )
  }
  const own = (
    sqls: readonly string[],
    ready: Request['ready'],
    isSimple = !statements.has('') && !portals.has(''),
  ): Buffer => {
    sent.push(request({ isOwn: true, ready }))
    if (isSimple) return query(sqls.join('; '))
    return Buffer.concat([...sqls.map(ownStatement), SYNC])
  }

  // What the rules say about a statement in its transaction.

  const judged = (statement: ParsedStatement): Judged => {
    const verdict = mode.hasSystemCatalog
      ? judge(statement)
      : withoutSystemCatalog(judge(statement))
    if (verdict.unknown !== undefined && verdict.refusal === undefined)
      return { statement, verdict: mode.unknown(statement, verdict) }
    return { statement, verdict }
  }
  /** Notes what the statement does to the transaction, or returns the error that it fails with. */
  const enter = ({ verdict }: Judged, bytes: number): ServerError | undefined => {
    const { effect, refusal, isOutsideOnly, droppedRoles } = verdict
    if (refusal !== undefined) return refusal
    const isChange = effect === 'write' || effect === 'ddl'
    if (isOutsideOnly && isOpen)
      return new ServerError('25001', 'sys.wait_for_job cannot run inside a transaction block')
    if (effect === 'begin') {
      isOpen = true
      return undefined
    }
    if (effect === 'commit' || effect === 'rollback') return undefined
    if (isOpen && isTooOld()) return ageLimit()
    const mapped = droppedRoles?.find((role) => mode.isRole(role))
    if (mapped !== undefined) {
      const told = `role "${mapped}" cannot be dropped because some objects depend on it`
      return new ServerError('2BP01', told)
    }
    if (!isChange) return undefined
    if (effect === 'ddl') {
      if (transaction.hasDdl)
        return new ServerError('0A000', 'multiple ddl statements not supported in a transaction')
      if (transaction.hasWritten) return mixed()
      transaction.hasDdl = true
      return undefined
    }
    if (transaction.hasDdl) return mixed()
    transaction.hasWritten = true
    transaction.bytes += bytes
    if (transaction.bytes > MAX_BYTES)
      return new ServerError('54000', 'transaction size limit 10mb exceeded', {
        detail: `Current transaction size ${Math.ceil(transaction.bytes / 1024 / 1024)}mb 10mb`,
      })
    return undefined
  }

  // From the client to the engine.

  const send = (next: Unit): Buffer[] => {
    const [first] = next.messages
    heldBytes -= bytesOf(next)
    if (first === undefined) return []
    if (isSkipping) {
      if (next.ends !== FrontendType.sync) return []
      isSkipping = false
      return sendExtended({ messages: [next.messages.at(-1)!], ends: FrontendType.sync })
    }
    if (COPY_TYPES.has(first.type)) {
      if (next.ends !== FrontendType.copyData) isCopying = false
      return next.messages.map(({ bytes }) => bytes)
    }
    if (!isOpen && unfinished === undefined) transaction = newTransaction()
    if (first.type === FrontendType.query) return sendQuery(next)
    if (first.type !== FrontendType.functionCall) return sendExtended(next)
    return sendPart({ out: [first.bytes], results: [], wasOpen: isOpen, isSimple: true })
  }

  /** Whether the statement has to be sent in another part than the one before, with the effects of the part so far. */
  const isSplitBefore = (one: Judged | undefined, effects: readonly Effect[]): boolean => {
    const last = effects.at(-1)
    if (last === 'commit' || last === 'rollback') return true
    return effectOf(one) === 'commit' && effects.includes('write')
  }

  const sendQuery = ({ messages: [message], rest }: Unit): Buffer[] => {
    const { bytes } = message!
    const { sql, encoding } = rest?.parsed ?? decoded(bytes, HEADER_BYTES)
    const wasOpen = isOpen
    statements.delete('')
    portals.delete('')
    let all = rest?.parsed.all
    if (all === undefined) {
      const parsed = mode.parser.parse(sql)
      if (parsed.fault !== undefined) {
        const { message: told, position } = parsed.fault
        // In an aborted transaction, only the engine's own parser fails before the state is checked.
        const error = new ServerError('42601', told, { position })
        const out = [isAborted ? bytes : query(failing(error))]
        return sendPart({ out, results: [{}], wasOpen, isSimple: true })
      }
      all = parsed.statements.map(judged)
    }
    const from = rest?.from ?? 0
    const results: Result[] = []
    const changes: Judged[] = []
    const effects: Effect[] = []
    const start = from === 0 ? 0 : all[from]!.statement.start
    // Errors have positions.
    let text = ' '.repeat(Math.min(start, MAX_PADDING))
    let done = start
    let next = from
    for (; next < all.length; next++) {
      const one = all[next]!
      const { statement, verdict } = one
      if (isSplitBefore(one, effects)) break
      results.push({ judged: one, transaction })
      effects.push(effectOf(one))
      const refusal =
        enter(one, Buffer.byteLength(statement.text)) ??
        (verdict.effect === 'commit' ? lossAtCommit() : undefined)
      if (verdict.refusal === undefined && ENDS_BLOCK.has(verdict.effect)) leaveBlock()
      if (CHANGING.has(effectOf(one))) changes.push(one)
      const instead = refusal === undefined ? verdict.text : failing(refusal)
      if (instead === undefined && !statement.isAsync) continue
      text += sql.slice(done, statement.start) + (instead ?? statement.text)
      done = statement.end
    }
    const end = all[next]?.statement.start ?? sql.length
    const isWhole = from === 0 && next === all.length && done === 0
    const out = isWhole ? bytes : queryIn(encoding, text + sql.slice(done, end))
    if (next < all.length) {
      const parsed = { sql, encoding, all }
      putBack({ messages: [message!], ends: FrontendType.query, rest: { parsed, from: next } })
    }
    const [only] = changes
    const guarded = results.length === 1 && only?.verdict.refusal === undefined ? only : undefined
    const again = guarded && unlocked(guarded)
    const probe = guarded && withoutDuplicates(guarded)
    return sendPart({
      out: [out],
      results,
      changes,
      wasOpen,
      isSimple: true,
      isTransactional: effects.some((effect) => TRANSACTIONAL.has(effect)),
      continuedBy: next < all.length ? 'statements' : undefined,
      guard: guarded && {
        judged: guarded,
        startsAfter: again === undefined ? undefined : BackendType.rowDescription,
        rest: [],
        probe: probe === undefined ? undefined : [queryIn(encoding, probe)],
        again:
          again === undefined
            ? undefined
            : { messages: [queryIn(encoding, again)], dropped: [BackendType.rowDescription] },
      },
    })
  }

  const sendExtended = (next: Unit): Buffer[] => {
    const out: Buffer[] = []
    const results: Result[] = []
    const effects: Effect[] = []
    const changes: Judged[] = []
    let guard: ((rest: readonly Buffer[]) => Guard) | undefined
    let executedAt = 0
    const isSimple = !usesEarlierUnnamed(next.messages)
    const wasOpen = isOpen
    const bound = new Set<string>()
    let bindBytes = 0
    let rest: Message[] = []
    parses = []
    for (const [index, { type, bytes }] of next.messages.entries()) {
      let passed = bytes
      if (type === FrontendType.parse) passed = parse(bytes)
      else if (type === FrontendType.bind) {
        bind(bytes)
        bound.add(textAt(bytes, HEADER_BYTES))
        bindBytes += bytes.length
      } else if (type === FrontendType.close) close(bytes)
      else if (type === FrontendType.execute) {
        const name = textAt(bytes, HEADER_BYTES)
        const portal = portals.get(name)
        const one = judgedOf(portal?.prepared)
        if (isSplitBefore(one, effects)) {
          rest = next.messages.slice(index)
          break
        }
        results.push({ judged: one, transaction })
        effects.push(effectOf(one))
        const textBytes = one === undefined ? 0 : Buffer.byteLength(one.statement.text)
        const refusal =
          one &&
          (enter(one, bindBytes + textBytes) ??
            (one.verdict.effect === 'commit' ? lossAtCommit() : undefined))
        bindBytes = 0
        if (refusal !== undefined) passed = parseMessage(OWN_NAME, failing(refusal))
        if (ENDS_BLOCK.has(effectOf(one))) leaveBlock()
        if (one !== undefined && CHANGING.has(one.verdict.effect)) {
          changes.push(one)
          if (refusal === undefined)
            guard = guardOf(one, bound.has(name) ? portal! : undefined, bytes)
        }
        executedAt = out.length
      }
      out.push(passed)
    }
    const isBound = next.messages.some(
      ({ type }) => type === FrontendType.bind || type === FrontendType.execute,
    )
    const isEnded = ENDS_BLOCK.has(effects.at(-1)!)
    const isSynced = next.ends === FrontendType.sync && rest.length === 0
    // A Sync would end a transaction that is not a block, with its portals.
    const isContinued =
      !isSynced &&
      (rest.length > 0 ||
        next.ends === QUERY_FOLLOWS ||
        isOpen ||
        isEnded ||
        (!isBound && unfinished === undefined))
    if (rest.length > 0) putBack({ messages: rest, ends: next.ends })
    const skipped = out.slice(executedAt + 1, isSynced ? -1 : undefined)
    if (isContinued) out.push(SYNC)
    return sendPart({
      out,
      results,
      changes,
      wasOpen,
      isSimple,
      isExtended: true,
      isWhole: isSynced || isContinued,
      isTransactional: effects.some((effect) => TRANSACTIONAL.has(effect)),
      continuedBy: isContinued ? 'messages' : undefined,
      guard: results.length === 1 ? guard?.(skipped) : undefined,
    })
  }

  /** @param portal `undefined` if it was bound by an earlier request, which may have read a part of the rows */
  const guardOf =
    (one: Judged, portal: Portal | undefined, executed: Buffer) =>
    (rest: readonly Buffer[]): Guard => {
      const running = (sql: string | undefined, behind: readonly Buffer[]): Buffer[] | undefined =>
        portal && sql === undefined
          ? undefined
          : portal && [
              parseMessage(OWN_NAME, sql!, portal.prepared.types),
              encodeMessage(FrontendType.bind, cString(OWN_NAME), cString(OWN_NAME), portal.values),
              encodeMessage(FrontendType.execute, cString(OWN_NAME), executed.subarray(-4)),
              closeOwn(),
              ...behind,
              SYNC,
            ]
      const messages = running(unlocked(one), rest)
      return {
        judged: one,
        startsAfter: portal && BackendType.bindComplete,
        rest,
        again: messages && { messages, dropped: [...OWN_REPLIES] },
        probe: running(withoutDuplicates(one), []),
      }
    }

  const putBack = (rest: Unit): void => {
    waiting.unshift(rest)
    heldBytes += bytesOf(rest)
  }

  /** Sends a request, or a part of one. */
  const sendPart = ({
    out,
    results,
    changes = [],
    wasOpen,
    isSimple,
    isExtended = false,
    isWhole = true,
    isTransactional = false,
    continuedBy,
    guard,
  }: Part): Buffer[] => {
    const isInBlock = wasOpen || isTransactional
    transaction.plannedRows += rowsAtMost(changes)
    const needsBlock = !isInBlock && transaction.plannedRows > MAX_ROWS
    if (unfinished !== undefined || !isWhole) {
      const current = (unfinished ??= added({ results: [], ready: finished, isExtended: true }))
      if (needsBlock && current.ready === finished) {
        // Its Sync has to come from the client, so there is none after this statement.
        current.ready = committed()
        current.results.push({ isOwn: true })
        current.dropped.push(...OWN_REPLIES)
        out.unshift(ownStatement('BEGIN'))
      } else if (isTransactional) current.ready = finished
      current.results.push(...results)
      if (isExtended) current.parses.push(...parses)
      if (!isWhole) return out
      unfinished = undefined
      current.continuedBy = continuedBy
      heldBy = current
      return out
    }
    if (needsBlock) {
      // The number of rows is known only when the statement has run, so the gateway decides then whether to commit it.
      const begin = own(['BEGIN'], ignored, isSimple)
      const ready = committed()
      const given = { results, parses: isExtended ? parses : [], ready, isExtended, continuedBy }
      heldBy = added({ ...given, keepsEnd: !isExtended })
      return [begin, ...out]
    }
    const isGuarded = wasOpen && !isAborted && guard !== undefined && mode.isConcurrent
    const before: Buffer[] = []
    if (isGuarded) {
      const release = transaction.hasSavepoint ? [`RELEASE SAVEPOINT ${SAVEPOINT}`] : []
      transaction.hasSavepoint = true
      const set = own(
        [...release, `SAVEPOINT ${SAVEPOINT}`],
        ({ error }) => {
          savepointError = error
          return undefined
        },
        isSimple,
      )
      before.push(set)
    }
    const current = added({
      results,
      parses: isExtended ? parses : [],
      guard: isGuarded ? guard : undefined,
      ready: finished,
      isExtended,
      continuedBy,
    })
    if (isInBlock || continuedBy !== undefined) heldBy = current
    return [...before, ...out]
  }
  const added = (given: Partial<Request>): Request => {
    const one = request({ isOwn: false, transaction, ...given })
    sent.push(one)
    return one
  }

  /** The end of a request. */
  const finished: Request['ready'] = (ended, status) => {
    const { error, guard } = ended
    if (error !== undefined && guard !== undefined) {
      recover(ended, guard)
      return undefined
    }
    if (ended.duplicate !== undefined && guard !== undefined) {
      probe(ended, guard, ended.duplicate)
      return undefined
    }
    if (ended.isLost && status === TransactionStatus.failed) {
      toEngineLater.push(own(['ROLLBACK'], () => settle(ended, TransactionStatus.idle)))
      return undefined
    }
    if (ended.isFailed && status === TransactionStatus.inTransaction) {
      // The client got an error in place of a result.
      const failed = own([failing(rowLimit())], () => settle(ended, TransactionStatus.failed))
      toEngineLater.push(failed)
      return undefined
    }
    return settle(ended, status)
  }
  /** Goes on after a conflict that the client learns of at COMMIT. */
  const recover = (ended: Request, { judged: one, again, rest }: Guard): void => {
    const back = own([`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`], ({ error }) => {
      if (error !== undefined) {
        // The statement was cancelled, for example.
        ended.hasError = true
        toClientNow(errorResponse(error))
        return settle(ended, TransactionStatus.failed)
      }
      transaction.isDoomed = true
      if (again === undefined) toClientNow(commandComplete(inventedTag(one.verdict, one.statement)))
      if (again === undefined && rest.length === 0)
        return settle(ended, TransactionStatus.inTransaction)
      const results = again === undefined ? [] : [{ judged: one, transaction }]
      const dropped = again?.dropped ?? []
      const droppedRows = again === undefined ? 0 : ended.rows
      const ready: Request['ready'] = (last, status) => {
        ended.hasError ||= last.hasError
        return settle(ended, status)
      }
      added({ results, dropped, droppedRows, ready })
      toEngineLater.push(...(again?.messages ?? [...rest, SYNC]))
      return undefined
    })
    toEngineLater.push(back)
  }
  /** Finds out whether the key of an INSERT belongs to a row that another transaction has inserted meanwhile. */
  const probe = (ended: Request, guard: Guard, duplicate: Buffer): void => {
    const visible = (): Buffer =>
      own([failing(errorOf(duplicate))], () => {
        ended.hasError = true
        toClientNow(duplicate)
        return settle(ended, TransactionStatus.failed)
      })
    const back = own([`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`], () => {
      const ready: Request['ready'] = ({ error }) => {
        if (error?.sqlState === '40001') recover(ended, guard)
        else toEngineLater.push(visible())
        return undefined
      }
      sent.push(request({ isOwn: true, ready }))
      toEngineLater.push(...guard.probe!)
      return undefined
    })
    toEngineLater.push(back)
  }
  /** The end of a request in a transaction of the gateway's. */
  const committed = (): Request['ready'] => (ended, status) => {
    const isFine = status === TransactionStatus.inTransaction && !ended.isFailed
    const end = own([isFine ? 'COMMIT' : 'ROLLBACK'], ({ error }) => {
      if (error === undefined) keptToClient(ended)
      else if (!ended.hasError) {
        ended.hasError = true
        toClientNow(errorResponse(error))
      }
      return settle(ended, TransactionStatus.idle)
    })
    toEngineLater.push(end)
    return undefined
  }
  /** Notes the state after a request, and lets the next ones go on. Returns the status for the client, if it gets one. */
  const settle = (ended: Request, status: number): number | undefined => {
    if (heldBy === ended) heldBy = undefined
    savepointError = undefined
    if (status === TransactionStatus.idle)
      for (const call of ended.transaction?.onCommit.splice(0) ?? []) if (!ended.hasError) call()
    if (!sent.some(({ isOwn }) => !isOwn)) {
      isOpen = status !== TransactionStatus.idle
      isAborted = status === TransactionStatus.failed
      if (!isOpen) {
        transaction = newTransaction()
        portals.clear()
      }
    }
    if (ended.continuedBy === undefined) return status
    if (!ended.hasError) return undefined
    if (ended.continuedBy === 'messages') {
      isSkipping = true
      return undefined
    }
    heldBytes -= bytesOf(waiting.shift()!)
    return status
  }
  const isTooOld = (): boolean => mode.clock() - transaction.beganAt > mode.transactionAgeMs
  const ageLimit = (): ServerError =>
    new ServerError('54000', `transaction age limit of ${mode.transactionAgeMs / 1000}s exceeded`)
  /** Why the transaction can't commit. */
  const lossAtCommit = (): ServerError | undefined => {
    if (!isOpen || isAborted) return undefined
    if (isTooOld()) return ageLimit()
    if (transaction.isDoomed) return conflictError('OC000')
    const isStale = transaction.hasWritten && transaction.catalogVersion !== mode.catalogVersion
    return isStale ? conflictError('OC001') : undefined
  }

  // Prepared statements and portals.

  const judgedOf = (prepared: Prepared | undefined): Judged | undefined =>
    prepared?.statement === undefined ? undefined : (prepared as Judged)
  /** The Parse messages of the part that is being sent. */
  let parses: Request['parses'] = []
  /** The engine has not run the Parse messages that it has not answered. */
  const restoreStatements = ({ parses: unanswered }: Request): void => {
    for (const { name, before } of unanswered.splice(0).toReversed()) {
      statements.delete(name)
      if (before !== undefined && name !== '') statements.set(name, before)
    }
  }
  const parse = (bytes: Buffer): Buffer => {
    const name = textAt(bytes, HEADER_BYTES)
    const offset = after(bytes, HEADER_BYTES)
    const { sql, encoding } = decoded(bytes, offset)
    const types = Buffer.from(bytes.subarray(after(bytes, offset)))
    const parsed = mode.parser.parse(sql)
    parses.push({ name, before: statements.get(name) })
    statements.delete(name)
    if (parsed.fault !== undefined) {
      if (isAborted) return bytes
      const { message, position } = parsed.fault
      return parseMessage(name, failing(new ServerError('42601', message, { position })))
    }
    const [first, second] = parsed.statements
    // Several statements are an error of PostgreSQL's.
    const one = first === undefined || second !== undefined ? undefined : judged(first)
    if (one?.verdict.refusal !== undefined) return parseMessage(name, failing(one.verdict.refusal))
    const text = one?.verdict.text ?? (one?.statement.isAsync ? one.statement.text : undefined)
    statements.set(name, { ...one, sql: text ?? sql, types })
    return text === undefined
      ? bytes
      : encodeMessage(FrontendType.parse, cString(name), Buffer.from(`${text}\0`, encoding), types)
  }
  const bind = (bytes: Buffer): void => {
    const offset = after(bytes, HEADER_BYTES)
    const prepared = statements.get(textAt(bytes, offset))
    const portal = textAt(bytes, HEADER_BYTES)
    portals.delete(portal)
    if (prepared !== undefined)
      portals.set(portal, { prepared, values: bytes.subarray(after(bytes, offset)) })
    if (portals.size > MAX_PORTALS) portals.delete(portals.keys().next().value!)
  }
  const close = (bytes: Buffer): void => {
    const kept = bytes[HEADER_BYTES] === STATEMENT ? statements : portals
    kept.delete(textAt(bytes, HEADER_BYTES + 1))
  }

  // From the engine to the client.

  let out: Buffer[] = []
  const toClientNow = (bytes: Buffer): void => void out.push(bytes)
  const keptToClient = (current: Request): void => {
    if (current.kept !== undefined) out.push(current.kept)
    current.kept = undefined
  }
  const reader = createReplyReader({
    isDropped() {
      const [current] = sent
      if (current === undefined) return false
      if (current.isOwn || current.isFailed) return true
      keptToClient(current)
      if (current.droppedRows > 0) {
        current.droppedRows--
        return true
      }
      current.rows++
      return false
    },
    pass: (bytes) => void out.push(bytes),
    reply(type, bytes) {
      const passed = answered(type, bytes)
      if (passed !== undefined) out.push(passed)
    },
  })

  /** Returns what the client gets in place of a reply. */
  const answered = (type: number, bytes: Buffer): Buffer | undefined => {
    const [current] = sent
    if (type === BackendType.parameterStatus)
      return textAt(bytes, HEADER_BYTES) === 'server_version'
        ? parameterStatus('server_version', SERVER_VERSION)
        : bytes
    if (type === BackendType.notificationResponse || current === undefined) return bytes
    if (type === BackendType.readyForQuery) return ended(current, bytes)
    if (current.isOwn) {
      if (type === BackendType.errorResponse) current.error ??= ownError(bytes) ?? errorOf(bytes)
      return undefined
    }
    if (current.isFailed) return undefined
    keptToClient(current)
    switch (type) {
      case BackendType.errorResponse: {
        const error = ownError(bytes)
        isCopying = false
        restoreStatements(current)
        const [failed] = current.results
        current.results.length = 0
        if (current.transaction !== undefined) current.transaction.onCommit.length = 0
        const isConflict = error?.sqlState === '40001'
        if (isConflict && current.guard !== undefined && isSurvivable(current.guard, current)) {
          current.error = error
          current.isFailed = true
          return undefined
        }
        const isDuplicate = errorFields(bytes).get('C') === '23505'
        if (isDuplicate && current.guard?.probe !== undefined) {
          current.duplicate = bytes
          current.isFailed = true
          return undefined
        }
        current.hasError = true
        // The rules refuse a COMMIT only if its transaction cannot be committed.
        current.isLost = isOfRules(bytes) && ENDS_BLOCK.has(effectOf(failed?.judged))
        if (savepointError !== undefined) return errorResponse(savepointError)
        return error === undefined ? withoutContext(bytes) : errorResponse(error)
      }
      case BackendType.copyInResponse:
        isCopying = true
        // The engine ignores the Sync that was sent with the COPY: the client sends another one after the data.
        if (current.isExtended && unfinished === undefined) unfinished = current
        return bytes
      case BackendType.commandComplete:
      case BackendType.emptyQueryResponse:
      case BackendType.portalSuspended:
        return completed(current, type, bytes)
      default: {
        if (current.guard !== undefined) current.seen.add(type)
        if (type === BackendType.parseComplete) current.parses.shift()
        const place = current.dropped.indexOf(type)
        if (place === -1) return bytes
        current.dropped.splice(place, 1)
        return undefined
      }
    }
  }
  const completed = (current: Request, type: number, bytes: Buffer): Buffer | undefined => {
    const result = current.results.shift()
    if (result?.isOwn) return undefined
    const verdict = result?.judged?.verdict
    const of = result?.transaction
    if (verdict === undefined || of === undefined) return bytes
    if (verdict.effect === 'write') {
      // The tag after the last part of a portal has the rows of this part only.
      of.rows += type === BackendType.portalSuspended ? current.rows : rowsOf(bytes)
      current.rows = 0
      if (of.rows > MAX_ROWS) {
        current.isFailed = true
        current.hasError = true
        return errorResponse(rowLimit())
      }
    }
    if (type !== BackendType.commandComplete) return bytes
    if (verdict.effect === 'ddl')
      of.onCommit.push(() => {
        mode.changeCatalog()
        if (verdict.iam !== undefined) mode.mapRole(verdict.iam)
      })
    if (result?.judged?.statement.tag === 'DeallocateStmt') statements.clear()
    if (ENDS_BLOCK.has(verdict.effect)) {
      const isCommitted = textAt(bytes, HEADER_BYTES) === 'COMMIT'
      for (const call of of.onCommit.splice(0)) if (isCommitted) call()
    }
    const passed = verdict.tag === undefined ? bytes : commandComplete(verdict.tag)
    if (!current.keepsEnd) return passed
    current.kept = passed
    return undefined
  }
  const ended = (current: Request, bytes: Buffer): Buffer | undefined => {
    sent.shift()
    const status = current.ready(current, bytes[HEADER_BYTES]!)
    return status === undefined ? undefined : readyForQuery(String.fromCharCode(status) as 'I')
  }

  /** Whether the end of the session may follow: nothing of the client's waits, or the engine waits for data of a COPY. */
  const isIdle = (): boolean => isCopying || (waiting.length === 0 && heldBy === undefined)
  const drain = (): Buffer[] => {
    const passed: Buffer[] = []
    while (waiting.length > 0 && (heldBy === undefined || unfinished !== undefined))
      passed.push(...send(waiting.shift()!))
    // The data of a COPY belongs to the statement that is running.
    while (waiting[0] !== undefined && COPY_TYPES.has(waiting[0].ends))
      passed.push(...send(waiting.shift()!))
    return passed
  }

  return {
    toEngine(messages) {
      for (let start = 0, end = 0; start < messages.length; start = end) {
        end = start + 1 + messages.readInt32BE(start + 1)
        const bytes = messages.subarray(start, end)
        if (bytes.length - 1 > mode.maxMessageBytes)
          throw new ServerError('08P01', 'invalid message length', { severity: 'FATAL' })
        const type = bytes[0]!
        const isAlone = type === FrontendType.query || type === FrontendType.functionCall
        if (isAlone && unit.messages.length > 0) {
          waiting.push({ ...unit, ends: QUERY_FOLLOWS })
          unit = { messages: [], ends: 0 }
          unitBytes = 0
        }
        unit.messages.push({ type, bytes })
        heldBytes += bytes.length
        unitBytes += bytes.length
        if (!ENDS_UNIT.has(type) && unitBytes < MAX_UNIT_BYTES) continue
        unit.ends = type
        waiting.push(unit)
        unit = { messages: [], ends: 0 }
        unitBytes = 0
      }
      return Buffer.concat(drain())
    },
    toClient(chunk) {
      out = []
      reader.push(chunk)
      const later = toEngineLater
      toEngineLater = []
      later.push(...drain())
      // The caller first writes what this returns.
      if (whenIdle.length > 0 && isIdle())
        for (const call of whenIdle.splice(0)) queueMicrotask(call)
      return {
        bytes: Buffer.concat(out),
        isCut: false,
        ...(later.length > 0 && { toEngine: Buffer.concat(later) }),
      }
    },
    get heldBytes() {
      return heldBytes
    },
    whenIdle(call) {
      if (isIdle()) call()
      else whenIdle.push(call)
    },
  }
}

/** What remains of a verdict if the engine has no schema `sys`. */
function withoutSystemCatalog(verdict: Verdict): Verdict {
  const { systemCatalog, text: _text, tag: _tag, ...rest } = verdict
  if (systemCatalog === undefined) return verdict
  if (systemCatalog === 'optional') return rest
  const told = 'this statement needs the schema "sys", which the gateway could not create here'
  return { ...rest, refusal: new ServerError('0A000', told) }
}

const ignored: Request['ready'] = () => undefined

/** How many rows the statements may change. */
function rowsAtMost(changes: readonly Judged[]): number {
  return changes
    .filter(({ verdict }) => verdict.effect === 'write')
    .reduce((sum, { verdict }) => sum + (verdict.rows ?? Infinity), 0)
}

/** The effect of a statement, unless it is refused by itself. */
function effectOf(judged: Judged | undefined): Effect {
  return judged === undefined || judged.verdict.refusal !== undefined
    ? 'other'
    : judged.verdict.effect
}

function request(given: Partial<Request> & { isOwn: boolean }): Request {
  return {
    results: [],
    dropped: [],
    seen: new Set(),
    parses: [],
    droppedRows: 0,
    rows: 0,
    isFailed: false,
    hasError: false,
    isLost: false,
    isExtended: false,
    keepsEnd: false,
    error: undefined,
    duplicate: undefined,
    kept: undefined,
    guard: undefined,
    continuedBy: undefined,
    transaction: undefined,
    ready: (_request, status) => status,
    ...given,
  }
}

/** The states of PostgreSQL that are a lost conflict on Aurora DSQL: a serialization failure, a lock timeout, a deadlock. */
const CONFLICTS: ReadonlySet<string> = new Set(['40001', '55P03', '40P01'])

function mixed(): ServerError {
  return new ServerError('0A000', 'ddl and dml are not supported in the same transaction')
}

function rowLimit(): ServerError {
  return new ServerError('54000', 'transaction row limit exceeded')
}

/**
 * Whether a lost conflict can be kept until COMMIT: the statement has begun to run, so that the client has the replies before, and the client
 * gets no row that would have to be invented.
 */
function isSurvivable({ judged, again, startsAfter }: Guard, { seen }: Request): boolean {
  if (startsAfter !== undefined && !seen.has(startsAfter)) return false
  const isPlain = Object.hasOwn(WRITES, judged.statement.tag ?? '')
  return again !== undefined || (isPlain && judged.verdict.returnsRows !== true)
}

const WRITES = { InsertStmt: 'INSERT 0', UpdateStmt: 'UPDATE', DeleteStmt: 'DELETE' } as const

/** The result of a statement that lost a conflict. How many rows it would have changed is not known. */
function inventedTag({ rows }: Verdict, { tag }: ParsedStatement): string {
  return `${WRITES[tag as keyof typeof WRITES]} ${tag === 'InsertStmt' ? (rows ?? 1) : 1}`
}

/** The SQL of a SELECT without its locking clauses, or `undefined` for another statement. */
function unlocked({ statement, verdict }: Judged): string | undefined {
  if (statement.tag !== 'SelectStmt' || verdict.effect !== 'lock') return undefined
  const text = verdict.text ?? statement.text
  const [only] = statementsOf(text)
  if (only === undefined) return undefined
  const { tokens, offsets } = only
  let unlockedText = text
  for (let index = 0; index < tokens.length; index++) {
    const end = endOfLock(tokens, index)
    if (end === index) continue
    const [from, to] = [offsets[index]!, offsets[end] ?? text.length]
    unlockedText = unlockedText.slice(0, from) + ' '.repeat(to - from) + unlockedText.slice(to)
    index = end - 1
  }
  return unlockedText
}

/** The index after `FOR UPDATE` or `FOR KEY SHARE`, with what follows of the clause. The same index if there is none. */
function endOfLock(tokens: readonly string[], start: number): number {
  const is = (at: number, ...words: readonly string[]): boolean =>
    words.every((word, index) => tokens[at + index] === word)
  let end = start
  if (is(start, 'FOR', 'UPDATE')) end += 2
  else if (is(start, 'FOR', 'KEY', 'SHARE')) end += 3
  else return start
  if (is(end, 'OF')) {
    end += 2
    while (is(end, ',') || is(end, '.')) end += 2
  }
  if (is(end, 'NOWAIT')) end += 1
  else if (is(end, 'SKIP', 'LOCKED')) end += 2
  return end
}

/** The SQL of an INSERT that skips keys that exist, or `undefined` for one that says what to do with them, or returns rows. */
function withoutDuplicates({ statement, verdict }: Judged): string | undefined {
  if (statement.tag !== 'InsertStmt' || verdict.returnsRows === true) return undefined
  if (statement.node['onConflictClause'] !== undefined) return undefined
  // The statement may end with a comment.
  return `${verdict.text ?? statement.text}\nON CONFLICT DO NOTHING`
}

function errorOf(response: Buffer): ServerError {
  const fields = errorFields(response)
  return new ServerError(fields.get('C') ?? 'XX000', fields.get('M') ?? 'unknown error')
}

/** Without the context of functions of schema `sys`, which Aurora DSQL does not have in SQL. */
function withoutContext(response: Buffer): Buffer {
  const fields = errorFields(response)
  const where = fields.get('W') ?? ''
  if (!/\b(?:run_job|alter_table|check_lateral)\(text,/.test(where)) return response
  const others = [...fields].filter(([code]) => !['W', 'q', 'p'].includes(code))
  return encodeMessage(
    BackendType.errorResponse,
    ...others.map(([code, value]) => cString(code + value)),
    Buffer.alloc(1),
  )
}

function rowsOf(complete: Buffer): number {
  const tag = textAt(complete, HEADER_BYTES)
  return /^(?:INSERT|UPDATE|DELETE|COPY|MERGE)\b/.test(tag) ? Number(/\d+$/.exec(tag)?.[0] ?? 0) : 0
}

function commandComplete(tag: string): Buffer {
  return encodeMessage(BackendType.commandComplete, cString(tag))
}

// Messages of the client.

const OWN_NAME = 'pg_iam'
const SAVEPOINT = 'pg_iam'
const SYNC = encodeMessage(FrontendType.sync)
const STATEMENT = 'S'.charCodeAt(0)
const MAX_PORTALS = 1_000
/** A request of this size is no longer collected before it is sent. */
const MAX_UNIT_BYTES = 16 * 1024 * 1024

const ENDS_UNIT: ReadonlySet<number> = new Set([
  FrontendType.query,
  FrontendType.sync,
  FrontendType.flush,
  FrontendType.functionCall,
  FrontendType.copyData,
  FrontendType.copyDone,
  FrontendType.copyFail,
])
const COPY_TYPES: ReadonlySet<number> = new Set([
  FrontendType.copyData,
  FrontendType.copyDone,
  FrontendType.copyFail,
])
/** In place of the type of the last message of a unit. */
const QUERY_FOLLOWS = 0
/** How many characters the beginning of a Query may have so that positions in its later parts are right. */
const MAX_PADDING = 10_000
const TRANSACTIONAL: ReadonlySet<Effect> = new Set<Effect>(['begin', 'commit', 'rollback'])
const ENDS_BLOCK: ReadonlySet<Effect> = new Set<Effect>(['commit', 'rollback'])
const CHANGING: ReadonlySet<Effect> = new Set<Effect>(['write', 'lock'])

/** Without a Sync. */
function ownStatement(sql: string): Buffer {
  return Buffer.concat([
    parseMessage(OWN_NAME, sql),
    encodeMessage(FrontendType.bind, cString(OWN_NAME), cString(OWN_NAME), Buffer.alloc(6)),
    encodeMessage(FrontendType.execute, cString(OWN_NAME), int32(0)),
    closeOwn(),
  ])
}

/** Within a transaction a portal outlives its statement. */
function closeOwn(): Buffer {
  return Buffer.concat(
    ['P', 'S'].map((kind) =>
      encodeMessage(FrontendType.close, Buffer.from(kind), cString(OWN_NAME)),
    ),
  )
}

/** The replies to a statement of the gateway that are neither rows nor its end. */
const OWN_REPLIES: readonly number[] = [
  BackendType.parseComplete,
  BackendType.bindComplete,
  BackendType.closeComplete,
  BackendType.closeComplete,
]

function query(sql: string): Buffer {
  return encodeMessage(FrontendType.query, cString(sql))
}

function queryIn(encoding: BufferEncoding, sql: string): Buffer {
  return encodeMessage(FrontendType.query, Buffer.from(`${sql}\0`, encoding))
}

function parseMessage(name: string, sql: string, types: Buffer = Buffer.alloc(2)): Buffer {
  return encodeMessage(FrontendType.parse, cString(name), cString(sql), types)
}

/** The text at an offset. Text that is not UTF-8 is in another client encoding: latin1 preserves its bytes. */
function decoded(bytes: Buffer, offset: number): { sql: string; encoding: 'utf8' | 'latin1' } {
  const end = bytes.indexOf(0, offset)
  const part = bytes.subarray(offset, end === -1 ? bytes.length : end)
  const sql = part.toString('utf8')
  return sql.includes('\ufffd') && !Buffer.from(sql).equals(part)
    ? { sql: part.toString('latin1'), encoding: 'latin1' }
    : { sql, encoding: 'utf8' }
}

function textAt(bytes: Buffer, offset: number): string {
  const end = bytes.indexOf(0, offset)
  return bytes.toString('utf8', offset, end === -1 ? bytes.length : end)
}

function after(bytes: Buffer, offset: number): number {
  return bytes.indexOf(0, offset) + 1
}

function bytesOf({ messages }: Unit): number {
  return messages.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

// Messages of the engine. Rows and the data of a COPY pass in pieces, because they can be as long as 1 GB.

interface ReplyReader {
  push(chunk: Buffer): void
}

function createReplyReader({
  isDropped,
  pass,
  reply,
}: {
  /** Whether rows are dropped. */
  isDropped: () => boolean
  pass: (bytes: Buffer) => void
  reply: (type: number, message: Buffer) => void
}): ReplyReader {
  let partial: Buffer = Buffer.alloc(0)
  let bodyLeft = 0
  let isPassed = true
  return {
    push(chunk) {
      let bytes = partial.length === 0 ? chunk : Buffer.concat([partial, chunk])
      partial = Buffer.alloc(0)
      while (bytes.length > 0) {
        if (bodyLeft > 0) {
          const part = bytes.subarray(0, bodyLeft)
          if (isPassed) pass(part)
          bodyLeft -= part.length
          bytes = bytes.subarray(part.length)
          continue
        }
        if (bytes.length < HEADER_BYTES) break
        const length = 1 + bytes.readInt32BE(1)
        if (length < HEADER_BYTES)
          throw new ProtocolViolation(`invalid message length ${length - 1}`)
        const type = bytes[0]!
        if (STREAMED.has(type)) {
          isPassed = !isDropped()
          bodyLeft = length
          continue
        }
        if (bytes.length < length) break
        reply(type, bytes.subarray(0, length))
        bytes = bytes.subarray(length)
      }
      partial = bytes
    },
  }
}

const STREAMED: ReadonlySet<number> = new Set([BackendType.dataRow, BackendType.copyData])

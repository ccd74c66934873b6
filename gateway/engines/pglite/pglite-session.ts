/** The session of one client. Sessions use PGlite's only backend one after the other, and none sees the state of another. */
import { Duplex } from 'node:stream'
import {
  HEADER_BYTES,
  FrontendType,
  encodeMessage,
  parameterStatus,
  readyForQuery,
} from '../../../wire/messages.js'
import { errorResponse, ServerError } from '../../../wire/error-response.js'
import type { EngineSession } from '../engine.js'
import { ABORT_BATCH, type Backend, OF_COPY, SYNC } from './backend.js'
import {
  copyFail,
  createReplyFilter,
  messagesOf,
  type ReplyHandler,
  simpleQuery,
  textAt,
} from './replies.js'
import {
  COPIES_IN,
  createPreparedStatements,
  NO_SQL,
  type Seat,
  type SessionState,
  type SqlTraits,
  traitsOf,
} from './session-state.js'
import { idleTooLong, type Turn, type TurnRequest, type Turns } from './turns.js'

export interface PgliteSession {
  readonly stream: EngineSession
  /** Ends the session with a FATAL error. */
  terminate(reason: ServerError): void
  /** Resolves when all state of the session is removed from PGlite. Never rejects. */
  readonly finished: Promise<void>
}

export interface PgliteSessionSettings {
  readonly id: number
  readonly state: SessionState
  readonly backend: Backend
  readonly seat: Seat
  readonly turns: Turns
  /** Restores the backend before the turn is released. */
  readonly leave: () => Promise<void>
  /** The maximum size of the buffered data of a COPY FROM STDIN, in bytes. */
  readonly maxCopyBytes: number
}

/** The status after the last reply: idle, in a transaction, in a failed transaction, or (`undefined`) before the Sync of a batch. */
type Status = 'I' | 'T' | 'E' | undefined

export function createPgliteSession(settings: PgliteSessionSettings): PgliteSession {
  const { state, backend, seat, turns, maxCopyBytes } = settings
  const prepared = createPreparedStatements(seat)

  // Input from the client.
  let queue: Buffer[] = []
  let queuedBytes = 0
  let acceptMore: (() => void) | undefined
  /** Whether the client sends no more messages. */
  let isEnded = false
  /** While messages are skipped until the next Sync, because their batch has failed: the status for its ReadyForQuery. */
  let skipTo: Status

  // Output to the client.
  let isOver = false
  let isFlowing = true
  let onFlowing: (() => void) | undefined
  let unacknowledgedBytes = 0
  const shownSettings = new Map<string, string>()

  // The turn and the running batch.
  let request: TurnRequest | undefined
  let turn: Turn | undefined
  let isRunning = false
  /** Whether replies are discarded instead of being sent to the client. */
  let isDiscarding = false
  /** The status of the last ReadyForQuery. */
  let lastStatus: 'I' | 'T' | 'E' = 'I'
  let status: Status = 'I'
  /** Whether PostgreSQL discards messages until the next Sync. */
  let hasFailed = false
  let mayHold = false
  let deallocating: string[] = []
  /** A COPY FROM STDIN whose data is being collected. */
  let copy: Copy | undefined
  const copyPortals = new Set<string>()
  /** Set after the gateway has rolled back the session's work: the error, until the client has received it. */
  let lost: { reason: ServerError | undefined; readonly wasInTransaction: boolean } | undefined
  let isBusy = false
  /** Whether notices are dropped. */
  let isQuiet = false
  /** Whether the gateway has sent the CopyInResponse, so that PGlite's is dropped. */
  let isCopyAnswered = false

  const replies = createReplyFilter(
    new Map<number, ReplyHandler>([
      [code('1'), (one) => (prepared.parseComplete() ? one : undefined)],
      [code('3'), passing(() => prepared.closeComplete())],
      [code('A'), () => undefined],
      [code('C'), passing((one) => completed(textAt(one, HEADER_BYTES).text))],
      [code('E'), passing(failed)],
      [code('G'), (one) => (isCopyAnswered ? undefined : one)],
      [code('N'), (one) => (isQuiet ? undefined : one)],
      [code('S'), reported],
      [code('Z'), passing(ready)],
    ]),
  )

  const stream = Object.assign(
    new Duplex({
      read: flow,
      write(chunk: Buffer, _encoding, done) {
        if (isOver) return done()
        for (const one of messagesOf(chunk)) {
          if (one[0] === FrontendType.terminate) continue
          queue.push(one)
          queuedBytes += one.length
        }
        acceptMore = done
        makeRoom()
        wake()
      },
      final(done) {
        isEnded = true
        done()
        setTimeout(abandon, LINGER_MS).unref()
        wake()
      },
      destroy(_error, done) {
        abandon()
        close()
        done(null)
      },
    }),
    { processId: settings.id, cancel },
  ) satisfies EngineSession
  let finish: () => void = () => {}
  const finished = new Promise<void>((resolve) => (finish = resolve))
  sendSettings()
  push(readyForQuery('I'))
  return { stream, terminate, finished }

  // ---- replies of PGlite ----

  async function run(messages: readonly Buffer[]): Promise<void> {
    const last = messages.findLast((one) => !OF_COPY.has(one[0]!))
    if (last === undefined) return
    isRunning = true
    try {
      await backend.run(Buffer.concat(messages), (piece) => {
        for (const part of replies.push(piece)) push(part)
        if (isFlowing || isOver || isDiscarding) backend.taken(piece.length)
        else unacknowledgedBytes += piece.length
        turn?.setIdle(!isFlowing)
      })
    } finally {
      isRunning = false
    }
    // PostgreSQL discards a Query after an error, so it does not end the batch.
    const ends = last[0] === FrontendType.sync || (endsBatch(last) && !hasFailed)
    status = ends ? lastStatus : undefined
  }
  function completed(tag: string): void {
    if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') prepared.drop()
    if (tag === 'DEALLOCATE') prepared.drop(deallocating.shift())
  }
  function failed(): void {
    hasFailed = true
    prepared.failed()
  }
  function ready(one: Buffer): void {
    lastStatus = one.toString('latin1', HEADER_BYTES) as 'I' | 'T' | 'E'
    hasFailed = false
    deallocating = []
    prepared.ready()
  }
  function reported(one: Buffer): Buffer | undefined {
    const [name, value] = seat.report(one)
    if (name === 'session_authorization' && value !== '' && value !== state.role) {
      // Possible with dynamic SQL on the caller's own PGlite, which has a superuser. The client must not run statements as another role.
      terminate(new ServerError('42501', 'permission denied to set session authorization'))
    }
    if (name === 'session_authorization' || shownSettings.get(name) === value) return undefined
    state.isDirty = true
    shownSettings.set(name, value)
    return one
  }

  // ---- from the client ----

  function makeRoom(): void {
    if (queuedBytes >= LARGE_BATCH_BYTES) return
    const done = acceptMore
    acceptMore = undefined
    done?.()
  }
  function take(count: number): Buffer[] {
    const messages = queue.splice(0, count)
    for (const one of messages) queuedBytes -= one.length
    return messages
  }
  function putBack(messages: readonly Buffer[]): void {
    queue.unshift(...messages)
    for (const one of messages) queuedBytes += one.length
  }
  /** The number of messages in the first batch, up to its Query, Sync or Flush. 0 if it is incomplete and not too large to buffer. */
  function batchLength(): number {
    const due = queue.findIndex((one) => endsBatch(one) || one[0] === FrontendType.flush) + 1
    return due === 0 && queuedBytes >= LARGE_BATCH_BYTES ? queue.length : due
  }
  function cancel(): void {
    request?.withdraw(new ServerError('57014', 'canceling statement due to user request'))
    if (copy === undefined) return
    putBack([copyFail('canceling statement due to user request')])
    wake()
  }

  // ---- to the client ----

  function flow(): void {
    isFlowing = true
    if (unacknowledgedBytes > 0) backend.taken(unacknowledgedBytes)
    unacknowledgedBytes = 0
    if (isRunning) turn?.setIdle(false)
    onFlowing?.()
  }
  function push(bytes: Buffer): void {
    if (!isOver && !isDiscarding && bytes.length > 0) isFlowing = stream.push(bytes)
  }
  function close(last?: Buffer): void {
    if (isOver) return
    if (last !== undefined) stream.push(last)
    isOver = true
    stream.push(null)
    flow()
  }
  function sendSettings(): void {
    for (const [name, value] of seat.reported) {
      // DISCARD ALL reports it as empty, although the session user is unchanged (PostgreSQL 18 in PGlite 0.5).
      const shown = name === 'session_authorization' ? state.role : value
      if (shownSettings.get(name) === shown) continue
      shownSettings.set(name, shown)
      push(parameterStatus(name, shown))
    }
  }
  /** Sends an error for a batch that does not run. ReadyForQuery follows immediately if `last` ends the batch, else at its Sync. */
  function fail(last: Buffer | undefined, error: ServerError, then: 'I' | 'T' | 'E'): void {
    push(errorResponse(error))
    if (last !== undefined && endsBatch(last)) push(readyForQuery(then))
    else skipTo = then
  }
  function terminate(reason: ServerError): void {
    close(replies.atBoundary ? errorResponse(fatal(reason)) : undefined)
    abandon()
  }

  // ---- processing, one batch at a time ----

  function wake(): void {
    if (isBusy) return
    isBusy = true
    work()
      .catch((error: unknown) => terminate(asServerError(error)))
      .finally(() => {
        isBusy = false
        if (hasInput()) wake()
        else if (isEnded || isOver) cleanUp()
      })
  }
  function hasInput(): boolean {
    if (isOver) return false
    return copy === undefined && skipTo === undefined ? batchLength() > 0 : queue.length > 0
  }
  async function work(): Promise<void> {
    while (hasInput()) {
      if (!isFlowing) await new Promise<void>((resolve) => (onFlowing = resolve))
      onFlowing = undefined
      if (skipTo !== undefined) skip(skipTo)
      else if (copy !== undefined) await takeCopyData(copy)
      else if (lost !== undefined) await answerLost(lost)
      else await serveBatch()
      makeRoom()
    }
  }
  function skip(then: 'I' | 'T' | 'E'): void {
    const sync = queue.findIndex((one) => one[0] === FrontendType.sync)
    take(sync === -1 ? queue.length : sync + 1)
    if (sync === -1) return
    skipTo = undefined
    push(readyForQuery(then))
  }

  async function serveBatch(): Promise<void> {
    const batch = take(batchLength())
    try {
      await getTurn()
    } catch (error) {
      if (!(error instanceof ServerError) || error.severity !== 'ERROR') throw error
      fail(batch.at(-1), error, 'I')
      return
    }
    if (isOver) return
    // Batches that have already arrived run in the same turn, unless other sessions wait.
    while (!turns.isContended && batchLength() > 0 && batch.length < MAX_MESSAGES) {
      batch.push(...take(batchLength()))
    }
    await runBatch(batch)
    await pause()
  }
  /** Runs the messages up to a COPY FROM STDIN, whose data has not arrived yet. */
  async function runBatch(batch: readonly Buffer[]): Promise<void> {
    let messages: Buffer[] = []
    for (const [index, one] of batch.entries()) {
      const traits = traitsIn(one)
      const { refusal, deallocates } = traits
      const isQuery = one[0] === FrontendType.query
      const asked = isQuery && refusal !== undefined ? simpleQuery(refusal) : one
      if (isQuery && deallocates !== undefined) deallocating.push(deallocates)
      if (startsCopy(one, traits)) {
        await run(messages)
        messages = []
        if (!hasFailed && lastStatus !== 'E') {
          copy = {
            starter: prepared.toBackend(asked, deallocates),
            data: [],
            bytes: 0,
            isQuery,
          }
          push(COPY_IN_RESPONSE)
          putBack(batch.slice(index + 1))
          return
        }
      }
      messages.push(...prepared.toBackend(asked, deallocates))
      // Without this, a COPY that waits for data ends PGlite (0.5.14 to 0.5.17), which takes the end of its input for a disconnect.
      if (traits.namesCopy) messages.push(NO_DATA)
    }
    await run(messages)
  }
  /** The traits of the SQL in a message, or of the statement that it binds. */
  function traitsIn(one: Buffer): SqlTraits {
    let traits = NO_SQL
    if (one[0] === FrontendType.query) {
      traits = traitsOf(textAt(one, HEADER_BYTES).text)
    } else if (one[0] === FrontendType.bind) {
      const { text: portal, end } = textAt(one, HEADER_BYTES)
      traits = prepared.traits(textAt(one, end).text)
      if (traits.copiesIn) copyPortals.add(portal)
      else copyPortals.delete(portal)
    } else if (one[0] === FrontendType.execute) {
      return copyPortals.has(textAt(one, HEADER_BYTES).text) ? COPIES_IN : NO_SQL
    } else if (one[0] === FrontendType.parse) {
      const { end } = textAt(one, HEADER_BYTES)
      seat.learn(one.toString('latin1'), traitsOf(textAt(one, end).text))
      return NO_SQL
    }
    if (traits === NO_SQL) return traits
    if (traits.changesState) state.isDirty = true
    // The settings of the startup packet are restored at the next turn.
    if (traits.resets) state.isReset = true
    if (traits.mayHold) mayHold = true
    seat.learn(one.toString('latin1'), traits)
    return traits
  }

  // ---- COPY FROM STDIN: PGlite (0.5.14 to 0.5.17) needs all data in one call, so it is buffered ----

  async function takeCopyData(open: Copy): Promise<void> {
    turn?.setIdle(false)
    while (copy === open) {
      const [one] = queue
      if (one === undefined) break
      const type = one[0]
      if (type === FrontendType.copyData) {
        take(1)
        open.data.push(one)
        open.bytes += one.length
        if (open.bytes > maxCopyBytes) {
          open.data = []
          await endCopy(open, copyFail(`PGlite takes ${maxCopyBytes} bytes in one COPY`))
        }
      } else if (type === FrontendType.copyDone || type === FrontendType.copyFail) {
        take(1)
        await endCopy(open, one)
      } else if (type === FrontendType.flush || type === FrontendType.sync) {
        // Ignored, as in PostgreSQL.
        take(1)
      } else {
        await endCopy(open, copyFail('unexpected message during COPY from stdin'))
      }
    }
    await pause()
  }
  async function endCopy(open: Copy, end: Buffer): Promise<void> {
    copy = undefined
    copyPortals.clear()
    isCopyAnswered = true
    try {
      await run([...open.starter, ...open.data, end, NO_DATA])
    } finally {
      isCopyAnswered = false
    }
  }

  // ---- the turn ----

  async function getTurn(): Promise<void> {
    if (turn !== undefined) return turn.setIdle(false)
    request = turns.ask(idleTimedOut)
    try {
      turn = await request.turn
    } finally {
      request = undefined
    }
    if (isOver) return
    try {
      await seat.enter(state)
    } catch (error) {
      // The role was dropped, or a setting is no longer allowed. The backend does not have the session's state, so the session must end.
      throw fatal(asServerError(error))
    }
    sendSettings()
  }
  /** Releases the turn, unless the session has an open transaction or other state that other sessions must not see. */
  async function pause(): Promise<void> {
    if (turn === undefined) return
    if (copy === undefined && status === 'I' && !(await holdsSomething())) await leaveTurn()
    else turn.setIdle(!hasInput() || !isFlowing)
  }
  async function holdsSomething(): Promise<boolean> {
    if (!mayHold) return false
    const { rows } = await seat.query(HELD)
    prepared.unnamedLost()
    mayHold = rows[0]?.[0] === 't'
    return mayHold
  }
  async function leaveTurn(): Promise<void> {
    const left = turn
    turn = undefined
    try {
      await settings.leave()
    } finally {
      left?.release()
    }
  }
  /** Called when this session was idle too long while others waited. */
  function idleTimedOut(): void {
    if (isRunning || onFlowing !== undefined) {
      // The client does not read its results.
      terminate(idleTooLong(turns.limits, 'FATAL'))
      return
    }
    if (isBusy) return
    isBusy = true
    const reason = idleTooLong(turns.limits, 'ERROR')
    const wasInTransaction = lastStatus !== 'I'
    const then = wasInTransaction ? 'E' : 'I'
    const isAsked = copy !== undefined || status === undefined
    const isQuery = copy?.isQuery === true
    copy = undefined
    rollBack()
      .then(() => {
        lost = { reason, wasInTransaction }
        if (!isAsked) return
        fail(isQuery ? SYNC : undefined, reason, then)
        lost = wasInTransaction ? { reason: undefined, wasInTransaction } : undefined
      })
      .catch((error: unknown) => terminate(asServerError(error)))
      .finally(() => {
        isBusy = false
        wake()
      })
  }
  /** Rolls back open work, and releases the turn. */
  async function rollBack(): Promise<void> {
    if (turn === undefined) return
    isDiscarding = true
    try {
      if (status === undefined) await run([ABORT_BATCH])
      if (status !== 'I') await run([simpleQuery('ROLLBACK')])
      if (mayHold) await seat.query(RELEASE_HELD)
      mayHold = false
    } finally {
      isDiscarding = false
      await leaveTurn()
    }
  }
  /** Answers the next batch after the gateway has rolled back the transaction, as PostgreSQL does in a failed transaction. */
  async function answerLost({ reason, wasInTransaction }: NonNullable<typeof lost>): Promise<void> {
    const batch = queue.slice(0, batchLength())
    const ends = batch.map(endOfTransaction).find((found) => found !== undefined)
    if (ends === 'rollback') {
      lost = undefined
      // Suppresses PostgreSQL's warning that there is no transaction in progress.
      isQuiet = true
      await serveBatch()
      isQuiet = false
      return
    }
    take(batch.length)
    const then = wasInTransaction && ends === undefined ? 'E' : 'I'
    fail(batch.at(-1), reason ?? IN_FAILED_TRANSACTION, then)
    lost = then === 'E' ? { reason: undefined, wasInTransaction } : undefined
  }

  // ---- the end ----

  /** Discards pending input and output after the client has gone, or the session was terminated. */
  function abandon(): void {
    isEnded = true
    queue = []
    queuedBytes = 0
    acceptMore?.()
    acceptMore = undefined
    request?.withdraw(new ServerError('57014', 'canceling statement due to user request'))
    onFlowing?.()
    if (isRunning) isDiscarding = true
    flow()
    if (!isBusy) cleanUp()
  }
  function cleanUp(): void {
    if (isBusy) return
    isBusy = true
    copy = undefined
    state.isDirty = false
    rollBack()
      // PGlite has been lost, and its transactions with it.
      .catch(() => {})
      .finally(() => {
        seat.forget(state)
        close()
        finish()
      })
  }
}

interface Copy {
  /** The Query or Execute message that starts it, with the messages that must precede it. */
  readonly starter: readonly Buffer[]
  readonly isQuery: boolean
  data: Buffer[]
  bytes: number
}

/** How long messages of a disconnected client may wait for the turn, in milliseconds. */
const LINGER_MS = 1_000
/** A batch larger than this is started before it is complete. Meanwhile no more input is read from the client. */
const LARGE_BATCH_BYTES = 262_144
const MAX_MESSAGES = 1_000

const NO_DATA = copyFail('PGlite takes the data of one COPY in one query')
/** Text format with 0 columns: the gateway does not know the real format and columns, and client libraries ignore them. */
const COPY_IN_RESPONSE = encodeMessage(code('G'), Buffer.alloc(3))

/** Whether the backend has a temporary table, a holdable cursor or an advisory lock, which only this session may use. */
const HELD = `SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())
  OR EXISTS (SELECT FROM pg_catalog.pg_cursor() WHERE is_holdable)
  OR EXISTS (SELECT FROM pg_catalog.pg_lock_status() WHERE locktype OPERATOR(pg_catalog.=) 'advisory')`
const RELEASE_HELD = 'CLOSE ALL; DISCARD TEMP; SELECT pg_catalog.pg_advisory_unlock_all()'

const IN_FAILED_TRANSACTION = new ServerError(
  '25P02',
  'current transaction is aborted, commands ignored until end of transaction block',
)

function code(type: string): number {
  return type.charCodeAt(0)
}

function passing(look: (message: Buffer) => void): ReplyHandler {
  return (one) => {
    look(one)
    return one
  }
}

function endsBatch(one: Buffer): boolean {
  const type = one[0]
  return (
    type === FrontendType.sync || type === FrontendType.query || type === FrontendType.functionCall
  )
}

function startsCopy(one: Buffer, { copiesIn }: SqlTraits): boolean {
  return copiesIn && (one[0] === FrontendType.query || one[0] === FrontendType.execute)
}

function endOfTransaction(one: Buffer): SqlTraits['endsTransaction'] {
  const type = one[0]
  if (type !== FrontendType.query && type !== FrontendType.parse) return undefined
  const start = type === FrontendType.query ? HEADER_BYTES : textAt(one, HEADER_BYTES).end
  return traitsOf(textAt(one, start).text).endsTransaction
}

function asServerError(error: unknown): ServerError {
  if (error instanceof ServerError) return error
  // An internal error of the engine or of PGlite.
  return new ServerError('XX000', 'PGlite failed', { severity: 'FATAL', cause: error })
}

function fatal({ sqlState, message: text, detail, hint }: ServerError): ServerError {
  return new ServerError(sqlState, text, {
    severity: 'FATAL',
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  })
}

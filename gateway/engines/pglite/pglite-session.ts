/** One client's session: takes its turns at the engine, and leaves to nobody else what is this session's. */
import { errorResponse, readyForQuery } from '../../wire/backend-messages.js'
import { ServerError } from '../../wire/server-error.js'
import type { EngineSession } from '../engine.js'
import type { BackendStatus } from './backend.js'
import { createClientStream } from './client-stream.js'
import type { EngineWorker, JobListener } from './engine-worker.js'
import type { Notifications } from './notifications.js'
import { COPY_FAIL, SYNC } from './own-messages.js'
import { createPreparedStatements, type EngineStatements } from './prepared-statements.js'
import { createSessionInput } from './session-input.js'
import { createSessionLeftovers } from './session-leftovers.js'
import { createSessionReplies } from './session-replies.js'
import { ONE_TRANSACTION_AT_A_TIME } from './turn-queue.js'
import type { Turn, TurnLimits, TurnQueue, TurnRequest } from './turn-queue.js'

export interface PgliteSession {
  readonly stream: EngineSession
  /** Ends the session with a FATAL error. */
  terminate(reason: ServerError): void
  /** Resolves when the engine has forgotten the session. Never rejects. */
  readonly finished: Promise<void>
}

export interface PgliteSessionSettings {
  readonly id: number
  readonly worker: EngineWorker
  readonly turns: TurnQueue
  readonly statements: EngineStatements
  readonly notifications: Notifications
  /** What the client gets first. */
  readonly greeting: Buffer
  /** How long a session whose client has left may go on with what it was asked for, in milliseconds. */
  readonly lingerMs: number
}

export function createPgliteSession(settings: PgliteSessionSettings): PgliteSession {
  const { id, worker, turns, notifications, statements } = settings
  let status: BackendStatus = 'I'
  let request: TurnRequest | undefined
  let turn: Turn | undefined
  let isRunning = false
  /** What the running job waits for. */
  let awaited: 'input' | 'output' | undefined
  let linger: NodeJS.Timeout | undefined

  const input = createSessionInput()
  const prepared = createPreparedStatements(id, statements)
  const leftovers = createSessionLeftovers(id, statements, notifications)
  const client = createClientStream(input, {
    onTaken(bytes) {
      worker.taken(bytes)
      if (awaited === 'output') stopWaiting()
    },
    onEnd() {
      linger = setTimeout(abandon, settings.lingerMs)
    },
    onAbandoned: abandon,
  })
  const replies = createSessionReplies(prepared, {
    reasonOfCancel: () => worker.cancelReason,
    onComplete: (tag) => leftovers.completed(tag),
    onError: () => leftovers.failed(),
    onNotification: (message) => notifications.deliver(id, message),
  })
  client.send([settings.greeting], 0)
  notifications.join(id, receiveNotification)

  function receiveNotification(message: Buffer): void {
    if (client.isOver) return
    if (client.duplex.readableLength > MAX_BACKLOG_BYTES) terminate(tooSlow())
    else client.send([message], 0)
  }
  function abandon(): void {
    client.end()
    input.abandon()
    request?.withdraw(cancelled())
    if (isRunning) worker.abandon()
  }
  function terminate(reason: ServerError): void {
    client.end(replies.atBoundary ? errorResponse(reason) : undefined)
    abandon()
  }
  function cancel(): void {
    if (isRunning) worker.cancel()
    else request?.withdraw(cancelled())
  }

  const listener: JobListener = {
    onOutput: (bytes) => client.send(replies.push(bytes), bytes.length),
    onWaiting(what) {
      awaited = what
      turn?.setIdle(true)
      if (what === 'input') void feedCopy()
    },
  }
  function stopWaiting(): void {
    awaited = undefined
    turn?.setIdle(false)
  }
  async function feedCopy(): Promise<void> {
    const more = await input.wait('any')
    stopWaiting()
    const messages = input.take('all').map((message) => leftovers.see(message))
    worker.supply(id, more ? toEngine(messages) : Buffer.concat([COPY_FAIL, SYNC]))
  }
  function toEngine(messages: readonly Buffer[]): Buffer {
    return Buffer.concat(messages.flatMap((message) => prepared.toEngine(message)))
  }
  async function runOwn(sql: string): Promise<Buffer> {
    statements.unnamedOwner = undefined
    const { reply } = await worker.perform({ type: 'sql', session: id, sql })
    return Buffer.from(reply ?? [])
  }

  async function runBatches(isFirst: boolean): Promise<void> {
    const seen = input.take(turns.isContended ? 'batch' : 'all').map((one) => leftovers.see(one))
    if (isFirst) await leftovers.beginTurn(runOwn)
    const job = { type: 'run', session: id, messages: toEngine(seen) } as const
    isRunning = true
    const { status: now, refusal } = await worker
      .perform(job, listener)
      .finally(() => (isRunning = false))
    status = now
    client.settle()
    if (status === 'I') prepared.settled()
    if (refusal !== undefined)
      terminate(new ServerError(refusal.sqlState, refusal.message, { severity: 'FATAL' }))
  }
  /** Waits for the client while it has the turn. */
  async function waitFor<T>(what: Promise<T>): Promise<T> {
    turn!.setIdle(true)
    const result = await what
    turn!.setIdle(false)
    return result
  }
  /** Whether the turn goes on. In a transaction that is for the client to say, else a matter of fairness. */
  async function hasMore(): Promise<boolean> {
    if (status === 'I')
      return !turns.isContended && client.isFlowing && !leftovers.isDue && input.isDue
    // Who does not read results gets no more of them, or they would pile up here.
    await waitFor(client.drained())
    return waitFor(input.wait('batch'))
  }
  async function ask(): Promise<void> {
    request = turns.ask({
      isPatient: false,
      onOverstayed: () => terminate(overstayed(isRunning, turns.limits)),
    })
    try {
      turn = await request.turn
    } finally {
      request = undefined
    }
  }
  function release(): void {
    turn?.release()
    turn = undefined
  }

  /** Answers a batch that did not get its turn. There is no transaction that this could fail. */
  function refuseBatch(reason: ServerError): void {
    client.send([errorResponse(reason)], 0)
    input.drop(() => client.send([readyForQuery('I')], 0))
  }
  async function serve(): Promise<void> {
    while (await input.wait('batch')) {
      try {
        await ask()
      } catch (error) {
        refuseBatch(error as ServerError)
        continue
      }
      for (let isFirst = true; isFirst || (await hasMore()); isFirst = false)
        await runBatches(isFirst)
      if (status !== 'I') return
      await leftovers.endTurn(runOwn)
      release()
      await client.drained()
    }
  }
  async function finish(): Promise<void> {
    try {
      await serve()
      client.end()
      turn ??= await turns.ask({ isPatient: true, onOverstayed: () => {} }).turn
      await worker.perform({ type: 'end', session: id, statements: prepared.engineNames() })
    } catch (error) {
      terminate(error as ServerError)
    }
    clearTimeout(linger)
    notifications.leave(id)
    release()
  }

  const finished = finish()
  const stream: EngineSession = Object.assign(client.duplex, { processId: id, cancel })
  return { stream, terminate, finished }
}

/** How much a client may leave unread before it gets no more notifications, and with them no more of anything. */
const MAX_BACKLOG_BYTES = 1_048_576

function cancelled(): ServerError {
  return new ServerError('57014', 'canceling statement due to user request')
}

function overstayed(isRunning: boolean, limits: TurnLimits): ServerError {
  const what = isRunning ? 'the engine waited for this client' : 'this client was idle in its own'
  return new ServerError(
    '25P03',
    `terminating connection due to idle-in-transaction timeout: PGlite runs one transaction at a time, and ${what} for the gateway's "idleInTransactionTimeoutMs" (${limits.idleInTransactionTimeoutMs} ms) while others waited`,
    {
      severity: 'FATAL',
      ...(isRunning && { detail: 'It waited for the client to take results or to send data.' }),
      hint: ONE_TRANSACTION_AT_A_TIME,
    },
  )
}

function tooSlow(): ServerError {
  return new ServerError('57P05', 'terminating connection because its notifications are not read', {
    severity: 'FATAL',
  })
}

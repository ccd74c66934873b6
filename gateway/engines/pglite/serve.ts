/** Serves sessions from one PostgreSQL, job after job. */
import { createBackend, type BackendClient } from './backend.js'
import { DATA_DIRECTORY } from './create-dump.js'
import { limitFiles } from './file-limit.js'
import { createLogKeeper } from './log-keeper.js'
import { createOutput } from './output.js'
import type { PostgresProgram } from './postgres-program.js'
import { prepareRoles } from './prepare-roles.js'
import { createSessionContexts } from './session-contexts.js'
import { createSessionSettings } from './session-settings.js'
import { ABORT_BATCH, closeStatement, COPY_FAIL, simpleQuery, SYNC } from './own-messages.js'
import {
  Control,
  type JobResult,
  type WorkerAnswer,
  type WorkerRequest,
} from './worker-messages.js'

export interface ServeSettings {
  database: string
  roles: readonly string[]
  control: Int32Array
}

/** The other end: the engine in its own thread. */
export interface Peer {
  post(answer: WorkerAnswer, transfer?: ArrayBuffer[]): void
  /** Waits for the next request. */
  receive(): WorkerRequest
}

/** Runs until it is told to stop. Throws what PostgreSQL cannot recover from. */
export function serve(program: PostgresProgram, settings: ServeSettings, peer: Peer): void {
  const { control } = settings
  const { post } = peer
  const { memory } = program
  const interruptPending = program.exports.InterruptPending.value
  const queryCancelPending = program.exports.QueryCancelPending.value
  const interruptHoldoff = program.exports.InterruptHoldoffCount.value
  const backend = createBackend(program)
  const output = createOutput(control, post)
  /** Came while a COPY waited for its data. */
  let postponed: WorkerRequest | undefined
  let job = 0
  let isOfClient = false

  const client: BackendClient = {
    write: output.write,
    onStepInTransaction: () => contexts.saveInTransaction(),
    read() {
      output.flush()
      post({ type: 'waiting', for: 'input' })
      const request = peer.receive()
      if (request.type !== 'run') {
        postponed = request
        return COPY_FAIL
      }
      job = request.job
      return request.messages
    },
  }
  const quietly = (messages: Buffer): Buffer => {
    const reply: Buffer[] = []
    const write = (bytes: Buffer): void => void reply.push(bytes)
    // A cancel is for what the client runs. It stays until that, or until the next job takes it away.
    memory.setWord(interruptHoldoff, 1)
    backend.run(messages, { write, read: () => COPY_FAIL, onStepInTransaction() {} })
    memory.setWord(interruptHoldoff, 0)
    return Buffer.concat(reply)
  }
  const query = (sql: string): Buffer => quietly(simpleQuery(sql))

  prepareRoles(query, settings.database, settings.roles)
  const sessionSettings = createSessionSettings(program)
  sessionSettings.allowAuthorization = false
  const contexts = createSessionContexts(query, sessionSettings)
  const log = createLogKeeper(query, (sql) => contexts.asSuperuser(sql))
  const cancelOwn = (): void => {
    memory.setWord(queryCancelPending, 1)
    memory.setWord(interruptPending, 1)
  }
  limitFiles(program.module, DATA_DIRECTORY, FILES_BYTES, () => {
    if (!isOfClient) return
    post({ type: 'full' })
    cancelOwn()
  })

  /** A cancel that was meant for the job before must not hit this one, and one that was meant for this one must. */
  const takeCancel = (): void => {
    memory.setWord(queryCancelPending, 0)
    if (Atomics.load(control, Control.cancelledJob) === job) cancelOwn()
  }
  /** Does `work` in the state of the session, and remembers the state that it leaves. */
  const within = (session: number, work: () => Omit<JobResult, 'status'>): JobResult => {
    if (backend.status === 'I') {
      const refusal = contexts.enter(session)
      if (refusal !== undefined) return { status: backend.status, refusal }
    }
    takeCancel()
    const result = work()
    if (backend.status === 'I') contexts.save()
    return { ...result, status: backend.status }
  }

  const run = (messages: Uint8Array): Omit<JobResult, 'status'> => {
    const milliseconds = sessionSettings.statementTimeout
    if (milliseconds > 0) post({ type: 'limit', milliseconds })
    isOfClient = true
    backend.run(messages, client)
    isOfClient = false
    output.flush()
    return {}
  }
  const end = (session: number, statements: readonly string[]): JobResult => {
    takeCancel()
    if (backend.status === undefined) quietly(ABORT_BATCH)
    if (backend.status !== 'I') query('ROLLBACK')
    if (statements.length > 0) quietly(Buffer.concat([...statements.map(closeStatement), SYNC]))
    contexts.forget(session)
    return { status: backend.status }
  }
  const perform = (request: Exclude<WorkerRequest, { type: 'stop' }>): JobResult => {
    switch (request.type) {
      case 'open': {
        takeCancel()
        const refusal = contexts.open(request.session, request.role, request.parameters)
        if (refusal !== undefined) return { status: backend.status, refusal }
        return { status: backend.status, parameters: sessionSettings.reported() }
      }
      case 'run':
        return within(request.session, () => run(request.messages))
      case 'sql':
        return within(request.session, () => ({ reply: query(request.sql) }))
      case 'end':
        return end(request.session, request.statements)
    }
  }

  post({ type: 'ready', memory: memory.shared, interruptPending, queryCancelPending })
  for (;;) {
    const request = postponed ?? peer.receive()
    postponed = undefined
    if (request.type === 'stop') return
    job = request.job
    const result = perform(request)
    post({ type: 'done', job, result })
    if (backend.status === 'I') log.afterJob()
  }
}

/** How much the files of a database in memory may have. */
const FILES_BYTES = 1_073_741_824

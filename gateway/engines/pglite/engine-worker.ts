/** The engine as its sessions see it: one PostgreSQL in a worker, which does one job at a time. */
import { ServerError } from '../../wire/server-error.js'
import { createWatchdog, type CancelReason } from './watchdog.js'
import {
  Control,
  CONTROL_WORDS,
  type JobResult,
  type ReadyAnswer,
  type WorkerAnswer,
  type WorkerRequest,
} from './worker-messages.js'
import { engineFailed, startWorkerThread } from './worker-thread.js'

/** A job, without what the worker gives it. */
export type Job = DistributiveOmit<Exclude<WorkerRequest, { type: 'stop' }>, 'job'>
type DistributiveOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never

/** What happens while a job is done. */
export interface JobListener {
  onOutput(bytes: Buffer): void
  onWaiting(what: 'input' | 'output'): void
}

export interface EngineWorker {
  /** Rejects with a FATAL `ServerError` when the engine is lost before the job is done. */
  perform(job: Job, listener?: JobListener): Promise<JobResult>
  /** Gives a job that waits for input some more of it. */
  supply(session: number, messages: Buffer): void
  /** Tells that results were taken, so that there is room for others. */
  taken(bytes: number): void
  /** Cancels what the current job is doing. */
  cancel(): void
  /** Cancels whatever is left of the current job. */
  abandon(): void
  /** Why the current job was cancelled last, if it was. */
  readonly cancelReason: CancelReason | undefined
  /** Resolves when the engine is gone, with why, or `undefined` after `close`. */
  readonly ended: Promise<string | undefined>
  close(): Promise<void>
}

export interface EngineWorkerSettings {
  database: string
  roles: readonly string[]
  dump: Uint8Array | undefined
  dataDirectory: string | undefined
  statementTimeoutMs: number
  startTimeoutMs: number
  graceMs: number
}

/** Rejects with `ERR_GATEWAY_ENGINE` when PGlite does not start. */
export async function startEngineWorker(settings: EngineWorkerSettings): Promise<EngineWorker> {
  const { database, roles, dump, dataDirectory, graceMs } = settings
  const shared = new SharedArrayBuffer(CONTROL_WORDS * Int32Array.BYTES_PER_ELEMENT)
  const control = new Int32Array(shared)
  let ready: ReadyAnswer | undefined
  let memory: Int32Array = new Int32Array(0)
  let jobs = 0
  let current: CurrentJob | undefined
  let awaited: 'input' | 'output' | undefined
  let closing = false
  let lostReason: string | undefined
  let whenReady: (ready: ReadyAnswer) => void = () => {}
  let whenEnded: (reason: string | undefined) => void = () => {}
  const ended = new Promise<string | undefined>((resolve) => (whenEnded = resolve))

  const watchdog = createWatchdog({
    limitMs: settings.statementTimeoutMs,
    graceMs,
    onCancel(reason) {
      if (current === undefined || ready === undefined) return
      current.cancelReason = reason
      Atomics.store(control, Control.cancelledJob, current.number)
      Atomics.store(memory, ready.queryCancelPending >> 2, 1)
      Atomics.store(memory, ready.interruptPending >> 2, 1)
      // It may be asleep on the flag.
      Atomics.notify(memory, ready.queryCancelPending >> 2)
    },
    isPending: () =>
      ready !== undefined && Atomics.load(memory, ready.queryCancelPending >> 2) !== 0,
    onStuck: () => end('a statement ran on after it was cancelled'),
  })
  const end = (reason: string | undefined): void => {
    watchdog.stop()
    lostReason ??= reason ?? 'it ended'
    current?.reject(engineLost())
    current = undefined
    whenEnded(closing ? undefined : lostReason)
    void thread.terminate()
  }
  const receive = (answer: WorkerAnswer): void => {
    switch (answer.type) {
      case 'ready':
        ready = answer
        memory = new Int32Array(answer.memory)
        return whenReady(answer)
      case 'output':
        return current?.listener.onOutput(Buffer.from(answer.bytes.buffer))
      case 'limit':
        return watchdog.setLimit(answer.milliseconds)
      case 'full':
        if (current !== undefined) current.cancelReason = 'full'
        return
      case 'waiting':
        awaited = answer.for
        watchdog.pause()
        return current?.listener.onWaiting(answer.for)
      case 'done':
        if (answer.job !== jobs) return
        watchdog.stop()
        current?.resolve(answer.result)
        current = undefined
        return
      default:
        return
    }
  }
  const thread = startWorkerThread(
    database,
    { type: 'serve', roles, dump, dataDirectory, control: shared },
    { onAnswer: receive, onEnd: end },
  )
  await untilReady()
  return {
    perform(job, listener = QUIET) {
      if (lostReason !== undefined) return Promise.reject(engineLost())
      return new Promise((resolve, reject) => {
        const number = ++jobs
        current = { number, listener, cancelReason: undefined, resolve, reject }
        awaited = undefined
        watchdog.start()
        thread.post({ ...job, job: number })
      })
    },
    supply(session, messages) {
      if (current === undefined) return
      awaited = undefined
      watchdog.resume()
      thread.post({ type: 'run', session, messages, job: ++jobs })
    },
    taken(bytes) {
      if (awaited === 'output') watchdog.resume()
      Atomics.sub(control, Control.outstanding, bytes)
      Atomics.notify(control, Control.outstanding)
    },
    cancel: () => watchdog.cancel(),
    abandon: () => watchdog.abandon(),
    get cancelReason() {
      return current?.cancelReason
    },
    ended,
    async close() {
      closing = true
      // What is in memory need not be in order.
      if (dataDirectory === undefined) return thread.terminate()
      if (current !== undefined) watchdog.abandon()
      thread.post({ type: 'stop' })
      const timer = setTimeout(() => void thread.terminate(), graceMs)
      await ended
      clearTimeout(timer)
      await thread.terminate()
    },
  }

  function untilReady(): Promise<ReadyAnswer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => end('it did not start in time'), settings.startTimeoutMs)
      whenReady = (answer) => {
        clearTimeout(timer)
        resolve(answer)
      }
      void ended.then((reason) => {
        clearTimeout(timer)
        reject(engineFailed('could not start PGlite', reason))
      })
    })
  }
}

interface CurrentJob {
  readonly number: number
  readonly listener: JobListener
  cancelReason: CancelReason | undefined
  resolve(result: JobResult): void
  reject(reason: ServerError): void
}

const QUIET: JobListener = { onOutput: () => {}, onWaiting: () => {} }

/** What clients are told when the engine is gone. Drivers know the code for a lost connection. */
export function engineLost(): ServerError {
  return new ServerError('57P01', 'terminating connection because the engine was lost', {
    severity: 'FATAL',
    hint: 'Connect again: the engine starts anew.',
  })
}

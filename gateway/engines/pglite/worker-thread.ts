/** Starts the worker that PGlite runs in, and carries messages. */
import { Worker } from 'node:worker_threads'
import { PgIamError } from '../../../core/errors.js'
import { workerFile } from './worker-file.cjs'
import type { InitialiseTask, ServeTask, WorkerAnswer, WorkerRequest } from './worker-messages.js'
import { Control } from './worker-messages.js'

export interface WorkerThread {
  /** Wakes the worker, which sleeps outside of its event loop. */
  post(request: WorkerRequest): void
  terminate(): Promise<void>
}

export interface WorkerListener {
  onAnswer(answer: WorkerAnswer): void
  /** The worker is gone, or cannot go on and is being ended. Called once, with `undefined` where it ended as it should. */
  onEnd(reason: string | undefined): void
}

export function startWorkerThread(
  database: string,
  task: InitialiseTask | ServeTask,
  listener: WorkerListener,
): WorkerThread {
  const worker = new Worker(workerFile, {
    workerData: { workerFile, database, task },
    // What the process was started with is not for this file: loaders would slow it down, and `--input-type` fails.
    execArgv: [],
    // PostgreSQL must find its own limit before the thread does.
    resourceLimits: { stackSizeMb: STACK_MB },
  })
  let ended = false
  const end = (reason: string | undefined): void => {
    if (ended) return
    ended = true
    listener.onEnd(reason)
  }
  const terminate = async (): Promise<void> => void (await worker.terminate())
  worker.on('message', (answer: WorkerAnswer) => {
    if (answer.type !== 'died') return listener.onAnswer(answer)
    end(answer.reason)
    void terminate()
  })
  worker.on('error', (error) => end(`${error.name}: ${error.message}`))
  worker.on('exit', (code) => end(code === 0 ? undefined : `exit code ${code}`))
  return {
    post(request) {
      worker.postMessage(request)
      if (task.type !== 'serve') return
      const control = new Int32Array(task.control)
      Atomics.add(control, Control.signal, 1)
      Atomics.notify(control, Control.signal)
    },
    terminate,
  }
}

const STACK_MB = 32

/** Runs initdb in a worker of its own, whose memory is given back at once. */
export function createDataDirectory(database: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    startWorkerThread(
      database,
      { type: 'initialise' },
      {
        onAnswer(answer) {
          if (answer.type === 'dump') resolve(answer.bytes)
        },
        // After the dump this rejects nothing any more.
        onEnd: (reason) => reject(engineFailed('could not make a data directory', reason)),
      },
    )
  })
}

export function engineFailed(what: string, reason: string | undefined): PgIamError {
  return new PgIamError('ERR_GATEWAY_ENGINE', `pglite: ${what}`, {
    retryable: true,
    cause: new Error(reason ?? 'the worker ended'),
  })
}

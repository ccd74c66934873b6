/** The thread that PGlite runs in. */
import { createRequire } from 'node:module'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { createDump } from './create-dump.js'
import { serve } from './serve.js'
import { startPostgres } from './start-postgres.js'
import {
  Control,
  type ServeTask,
  type WorkerAnswer,
  type WorkerRequest,
  type WorkerStart,
} from './worker-messages.js'

const port = parentPort!
const start = workerData as WorkerStart

function post(answer: WorkerAnswer, transfer: ArrayBuffer[] = []): void {
  port.postMessage(answer, transfer)
}

async function work(): Promise<void> {
  if (start.task.type === 'serve') return serveSessions(start.task)
  const bytes = await createDump(start.database)
  post({ type: 'dump', bytes })
}

async function serveSessions({ dump, dataDirectory, roles, control }: ServeTask): Promise<void> {
  const entry = createRequire(start.workerFile).resolve('@electric-sql/pglite')
  const words = new Int32Array(control)
  const { database } = start
  const postgres = await startPostgres(entry, { database, dataDirectory, dump })
  serve(postgres, { database, roles, control: words }, { post, receive: () => receive(words) })
  await postgres.stop()
}

/** Sleeps until there is a request. The event loop of this thread stands still meanwhile, and nothing needs it. */
function receive(control: Int32Array): WorkerRequest {
  for (;;) {
    const signal = Atomics.load(control, Control.signal)
    const received = receiveMessageOnPort(port) as { message: WorkerRequest } | undefined
    if (received !== undefined) return received.message
    Atomics.wait(control, Control.signal, signal)
  }
}

work().then(
  () => port.close(),
  (error: unknown) => {
    const { name, message } = error as Partial<Error>
    post({ type: 'died', reason: `${name ?? 'unknown error'}: ${message ?? ''}` })
    port.close()
  },
)

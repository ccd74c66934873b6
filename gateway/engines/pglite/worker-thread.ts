/** PGlite in a worker thread, so that statements do not block the event loop of the process, and can be terminated. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { PgIamError } from '../../../core/errors.js'
import { peerError } from '../../../core/load-peer.js'
import { engineLost, type Backend } from './backend.js'
import { workerFile } from './worker-file.cjs'
import type { WorkerAnswer, WorkerRequest, WorkerTask } from './worker.js'

export interface WorkerBackend extends Backend {
  /** Resolves with the reason when PGlite can no longer be used. */
  readonly lost: Promise<string>
  /** Resolves when the thread has ended and its data directory can be used by another one. */
  readonly ended: Promise<void>
  /** Stops PGlite: with a clean shutdown of at most 5 seconds if `isOrderly`, else immediately. */
  stop(isOrderly: boolean): Promise<void>
}

export interface WorkerPlace {
  readonly database: string
  readonly dump: Uint8Array | undefined
  readonly dataDirectory: string | undefined
  /** The time limit of one call of `run`, in milliseconds, without the time in which PGlite waits for a client to read. */
  readonly statementTimeoutMs: number
}

/** Rejects with `ERR_GATEWAY_ENGINE` if PGlite does not start. */
export async function startWorkerBackend({
  database,
  dump,
  dataDirectory,
  statementTimeoutMs,
}: WorkerPlace): Promise<WorkerBackend> {
  const shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)
  const words = new Int32Array(shared)
  let running: Running | undefined
  let lostReason: string | undefined
  let whenReady: () => void = () => {}
  let whenLost: (reason: string) => void = () => {}
  const ready = new Promise<void>((resolve) => (whenReady = resolve))
  const lost = new Promise<string>((resolve) => (whenLost = resolve))

  const thread = startThread({
    ...{ type: 'serve', database, dump, dataDirectory, shared },
    maxUnreadBytes: MAX_UNREAD_BYTES,
  })
  thread.on('message', (answer: WorkerAnswer) => {
    if (answer.type === 'ready') whenReady()
    else if (answer.type === 'failed') lose(answer.reason)
    else if (answer.type === 'reply' || answer.type === 'done') {
      const { buffer, byteOffset, byteLength } = answer.bytes
      const bytes = Buffer.from(buffer, byteOffset, byteLength)
      if (bytes.length > 0) running?.onReply(bytes)
      if (answer.type === 'done') finish()
      else if (isBlocked()) running?.clock.pause()
    }
  })
  thread.on('error', (error) => lose(`${error.name}: ${error.message}`))
  const ended = new Promise<void>((resolve) => {
    thread.on('exit', (code) => {
      lose(`the worker thread exited with code ${code}`)
      resolve()
    })
  })

  const post = (request: WorkerRequest): void => {
    thread.postMessage(request)
    // The thread waits in Atomics.wait, not in its event loop.
    Atomics.add(words, REQUESTS, 1)
    Atomics.notify(words, REQUESTS)
  }
  const isBlocked = (): boolean => Atomics.load(words, UNREAD) > MAX_UNREAD_BYTES
  const finish = (): void => {
    running?.clock.stop()
    running?.resolve()
    running = undefined
  }
  const lose = (reason: string): void => {
    if (lostReason !== undefined) return
    lostReason = reason
    running?.clock.stop()
    running?.reject(engineLost(reason))
    running = undefined
    whenLost(reason)
    void thread.terminate()
  }

  await Promise.race([
    ready,
    lost.then((reason) => {
      throw couldNotStart(reason)
    }),
  ])
  return {
    lost,
    ended,
    run(messages, onReply) {
      if (lostReason !== undefined) return Promise.reject(engineLost(lostReason))
      return new Promise((resolve, reject) => {
        const clock = startClock(statementTimeoutMs, () =>
          lose(`a statement ran for longer than "statementTimeoutMs" (${statementTimeoutMs} ms)`),
        )
        running = { onReply, resolve, reject, clock }
        post({ type: 'run', messages })
      })
    },
    taken(bytes) {
      const wasBlocked = isBlocked()
      Atomics.sub(words, UNREAD, bytes)
      if (!wasBlocked || isBlocked()) return
      Atomics.notify(words, UNREAD)
      running?.clock.resume()
    },
    async stop(isOrderly) {
      if (isOrderly && lostReason === undefined) {
        post({ type: 'stop' })
        const timer = setTimeout(() => lose('the shutdown timed out'), STOP_MS)
        await ended
        clearTimeout(timer)
      } else {
        lose('the engine was closed')
      }
      await ended
    },
  }
}

interface Running {
  onReply(bytes: Buffer): void
  resolve(): void
  reject(reason: unknown): void
  readonly clock: Clock
}

interface Clock {
  pause(): void
  resume(): void
  stop(): void
}

function startClock(limitMs: number, expired: () => void): Clock {
  let leftMs = limitMs
  let since = 0
  let timer: NodeJS.Timeout | undefined
  const resume = (): void => {
    if (timer !== undefined) return
    since = performance.now()
    timer = setTimeout(expired, leftMs)
  }
  const stop = (): void => {
    clearTimeout(timer)
    timer = undefined
  }
  resume()
  return {
    resume,
    stop,
    pause() {
      if (timer === undefined) return
      stop()
      leftMs = Math.max(leftMs - (performance.now() - since), 1)
    },
  }
}

/** Creates a fresh data directory and returns a dump of it. A separate thread is used, so that its memory is released. */
export async function createDump(database: string): Promise<Uint8Array> {
  return (await performTask({ type: 'create', database })) ?? Buffer.alloc(0)
}

/** Writes a dump to an empty or missing directory, and shuts PostgreSQL down cleanly. */
export async function fillDirectory(
  database: string,
  dump: Uint8Array,
  dataDirectory: string,
): Promise<void> {
  await performTask({ type: 'fill', database, dump, dataDirectory })
}

function performTask(task: WorkerTask): Promise<Uint8Array | undefined> {
  return new Promise((resolve, reject) => {
    let bytes: Uint8Array | undefined
    const thread = startThread(task)
    thread.on('message', (answer: WorkerAnswer) => {
      if (answer.type === 'dump') ({ bytes } = answer)
      if (answer.type === 'failed') reject(couldNotStart(answer.reason))
    })
    thread.on('error', (error) => reject(couldNotStart(error.message)))
    thread.on('exit', () => resolve(bytes))
  })
}

function startThread(task: WorkerTask): Worker {
  return new Worker(workerFile, {
    workerData: { task },
    // The Node options of the process are not inherited: loaders would slow the thread down, and `--input-type` fails.
    execArgv: [],
    // Large enough that PostgreSQL's max_stack_depth is reached before the limit of the thread.
    resourceLimits: { stackSizeMb: STACK_MB },
  })
}

/** Indexes into the memory that is shared with the thread. */
const UNREAD = 0
const REQUESTS = 1
const STACK_MB = 32
const MAX_UNREAD_BYTES = 4_194_304
const STOP_MS = 5_000

function couldNotStart(reason: string): PgIamError {
  return new PgIamError('ERR_GATEWAY_ENGINE', 'pglite: PGlite could not be started', {
    retryable: true,
    cause: new Error(reason),
  })
}

/**
 * Returns the version of PGlite that the thread will load, without loading it here.
 *
 * Rejects with `ERR_PEER_MISSING` if PGlite is not installed, and with `ERR_GATEWAY_ENGINE` if the worker file is missing because pg-iam
 * is bundled.
 */
export async function pgliteVersion(): Promise<string> {
  const isBundled = !existsSync(workerFile)
  const entry = resolvePglite(isBundled ? join(process.cwd(), 'bundle.js') : workerFile)
  if (isBundled) {
    throw new PgIamError('ERR_GATEWAY_ENGINE', 'pglite: PGlite cannot be started from a bundle', {
      hint: 'PGlite runs in a worker thread, whose file bundlers omit. Mark pg-iam as an external package of the bundle, or pass the gateway an engine: pgliteEngine(db).',
    })
  }
  const manifest = await readFile(join(dirname(entry), '..', 'package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** The path of PGlite's main module, as seen from a file. */
function resolvePglite(from: string): string {
  try {
    return createRequire(from).resolve('@electric-sql/pglite')
  } catch (error) {
    throw peerError(error, '@electric-sql/pglite')
  }
}

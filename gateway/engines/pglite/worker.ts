/** The worker thread that runs PGlite. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { gunzipSync, gzipSync } from 'node:zlib'
import { peerError } from '../../../core/load-peer.js'
import { identifier } from '../../../core/sql.js'
import { createRunner } from './backend.js'

/** The task of the thread. */
export type WorkerTask = {
  readonly database: string
} & (
  | /** Creates a fresh data directory, and posts a dump of it. */ {
      readonly type: 'create'
    } /** Writes a dump to a directory. */
  | { readonly type: 'fill'; readonly dump: Uint8Array; readonly dataDirectory: string }
  | {
      readonly type: 'serve'
      /** The initial content of a database in memory. Without it, the database is in the directory. */
      readonly dump: Uint8Array | undefined
      readonly dataDirectory: string | undefined
      /** Two 32-bit integers: the number of posted and not yet acknowledged reply bytes, and the number of posted requests. */
      readonly shared: SharedArrayBuffer
      /** PGlite pauses while more bytes than this are unacknowledged. */
      readonly maxUnreadBytes: number
    }
)

export type WorkerRequest =
  { readonly type: 'run'; readonly messages: Uint8Array } | { readonly type: 'stop' }

export type WorkerAnswer =
  | { readonly type: 'dump'; readonly bytes: Uint8Array }
  | { readonly type: 'ready' }
  | { readonly type: 'reply' | 'done'; readonly bytes: Uint8Array }
  | { readonly type: 'failed'; readonly reason: string }

const port = parentPort!
const task = workerData.task as WorkerTask

/**
 * PGlite's default parameters (0.5.14 to 0.5.17) without `-O`, which allows changes of system tables, and without its search path, which
 * omits `"$user"`. With PostgreSQL's default max_stack_depth of 2 MB, deep recursion would overflow the thread's stack first, after which
 * PGlite cannot be used.
 */
function startParameters(defaults: readonly string[]): string[] {
  const kept = defaults.filter((one, index) => {
    const setting = one === '-c' ? defaults[index + 1] : one
    return one !== '-O' && setting !== 'search_path=public'
  })
  return [...kept, '-c', 'max_stack_depth=200kB']
}

function post(answer: WorkerAnswer, transfer: ArrayBuffer[] = []): void {
  port.postMessage(answer, transfer)
}

async function loadPglite(): Promise<typeof import('@electric-sql/pglite').PGlite> {
  try {
    return (await import('@electric-sql/pglite')).PGlite
  } catch (error) {
    throw peerError(error, '@electric-sql/pglite')
  }
}

async function work(): Promise<void> {
  const PGlite = await loadPglite()
  const { database } = task
  const startParams = startParameters(PGlite.defaultStartParams)
  if (task.type === 'create') {
    // Small WAL segments make the dump smaller, as does renaming `postgres` instead of creating another database.
    const db = await PGlite.create({
      database: 'template1',
      initDbStartParams: ['--wal-segsize=1'],
    })
    if (database !== 'postgres')
      await db.exec(`ALTER DATABASE postgres RENAME TO ${identifier(database)}`)
    await db.exec('CHECKPOINT')
    const files = await db.dumpDataDir('none')
    post({ type: 'dump', bytes: gzipSync(new Uint8Array(await files.arrayBuffer())) })
    await db.close()
    return
  }
  const db = await PGlite.create({
    startParams,
    ...(task.type === 'fill' ? {} : { database }),
    ...(task.dataDirectory === undefined ? {} : { dataDir: task.dataDirectory }),
    ...(task.dump === undefined
      ? {}
      : { loadDataDir: new Blob([new Uint8Array(gunzipSync(task.dump))]) }),
  })
  if (task.type === 'fill') return db.close()
  const runner = createRunner(db)
  const shared = new Int32Array(task.shared)
  post({ type: 'ready' })
  for (;;) {
    const request = nextRequest(shared)
    if (request.type === 'stop') break
    await run(runner, request.messages, shared, task.maxUnreadBytes)
  }
  await db.close()
}

/**
 * Blocks until there is a request. The event loop of this thread must not run meanwhile: PGlite (0.5.14 to 0.5.17) implements PostgreSQL's
 * timers with JavaScript timers, and a timeout of an idle session or transaction would end the only backend.
 */
function nextRequest(shared: Int32Array): WorkerRequest {
  for (;;) {
    const requests = Atomics.load(shared, REQUESTS)
    const received = receiveMessageOnPort(port) as { message: WorkerRequest } | undefined
    if (received !== undefined) return received.message
    Atomics.wait(shared, REQUESTS, requests)
  }
}

async function run(
  runner: ReturnType<typeof createRunner>,
  messages: Uint8Array,
  shared: Int32Array,
  maxUnreadBytes: number,
): Promise<void> {
  let pieces: Uint8Array[] = []
  let length = 0
  const takePieces = (): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(length)
    let offset = 0
    for (const piece of pieces) {
      bytes.set(piece, offset)
      offset += piece.length
    }
    pieces = []
    length = 0
    Atomics.add(shared, UNREAD, bytes.length)
    return bytes
  }
  const { buffer, byteOffset, byteLength } = messages
  await runner(Buffer.from(buffer, byteOffset, byteLength), (piece) => {
    // Copied, because PGlite reuses the memory when this returns.
    pieces.push(new Uint8Array(piece))
    length += piece.length
    if (length < PIECE_BYTES) return
    const bytes = takePieces()
    post({ type: 'reply', bytes }, [bytes.buffer])
    for (;;) {
      const now = Atomics.load(shared, UNREAD)
      if (now <= maxUnreadBytes) break
      Atomics.wait(shared, UNREAD, now)
    }
  })
  const bytes = takePieces()
  post({ type: 'done', bytes }, [bytes.buffer])
}

const PIECE_BYTES = 65_536
const UNREAD = 0
const REQUESTS = 1

function fail(error: unknown): void {
  post({ type: 'failed', reason: error instanceof Error ? error.message : String(error) })
  port.close()
}

work().then(() => port.close(), fail)

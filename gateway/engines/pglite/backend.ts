/** Runs frontend messages on PostgreSQL, which reads and writes as if it had a socket. */
import { failStackCheck } from './import-hooks.js'
import { createMessageFeed } from './message-feed.js'
import type { PostgresProgram } from './postgres-program.js'

export interface BackendClient {
  /** Takes a piece of the reply, which may end anywhere. */
  write(bytes: Buffer): void
  /** Gives more messages in the middle of a COPY, when they come. */
  read(): Uint8Array
  /** One of the messages is done, and a transaction block is open. */
  onStepInTransaction(): void
}

export type BackendStatus = 'I' | 'T' | 'E' | undefined

export interface Backend {
  /**
   * Runs whole messages and returns when all are answered. Throws what PostgreSQL cannot recover from; it is of no more use
   * then.
   */
  run(messages: Uint8Array, client: BackendClient): void
  /**
   * What the last reply ended with: `I` outside of a transaction, `T` in one, `E` in one that failed, and `undefined` in the
   * middle of a batch, which a Sync has yet to end.
   */
  readonly status: BackendStatus
}

export function createBackend(program: PostgresProgram): Backend {
  const { module, memory } = program
  let client: BackendClient | undefined
  const input = createMessageFeed()
  /** At least the end of what was written last. */
  let end: Buffer = Buffer.alloc(0)

  // PostgreSQL takes a read of nothing for the end of the connection, and ends. So a read waits, as a socket's does.
  const read = (address: number, length: number): number => {
    // One message is there when PostgreSQL begins with it. Whoever reads on is a COPY.
    if (input.isCurrentRead) {
      if (input.isEmpty) input.add(client!.read())
      input.nextOfCopy()
    }
    const piece = input.readCurrent(length)
    memory.write(address, piece)
    return piece.length
  }
  const write = (address: number, length: number): number => {
    const bytes = memory.copy(address, length)
    end = length >= READY_BYTES ? bytes : Buffer.concat([end.subarray(-READY_BYTES), bytes])
    client!.write(bytes)
    return length
  }
  module._pgl_set_rw_cbs(
    module.addFunction(read as (...values: number[]) => number, 'ipi'),
    module.addFunction(write as (...values: number[]) => number, 'ipi'),
  )

  return {
    run(messages, sender) {
      client = sender
      input.add(messages)
      while (!input.isEmpty) {
        input.next()
        runOneMessage(program)
        if (module._IsTransactionBlock() !== 0) sender.onStepInTransaction()
      }
      module._PostgresSendReadyForQueryIfNecessary()
      module._pgl_pq_flush()
    },
    get status() {
      return statusAtEnd(end)
    },
  }
}

/** A whole ReadyForQuery. Every other message that may come last ends with a NUL, a count or a format. */
const READY_BYTES = 6
const READY = Buffer.from('Z\0\0\0\u0005', 'latin1')

function statusAtEnd(end: Buffer): BackendStatus {
  const ready = end.subarray(-READY_BYTES)
  if (ready.length < READY_BYTES || !ready.subarray(0, -1).equals(READY)) return undefined
  return String.fromCharCode(ready.at(-1)!) as BackendStatus
}

/** An error of SQL that nothing caught leaves PostgreSQL's main loop as an exit with this status. */
const MAIN_LOOP_ERROR = 100

function runOneMessage(program: PostgresProgram): void {
  const { module } = program
  const stack = module.stackSave()
  try {
    module._PostgresMainLoopOnce()
  } catch (error) {
    module.stackRestore(stack)
    if (error instanceof RangeError) failFlatStack(program, stack)
    else if (!isMainLoopError(error)) throw error
    module._PostgresMainLongJmp()
  }
}

/** Where the thread's stack ended and PostgreSQL had nothing to catch an error with but its main loop. */
function failFlatStack(program: PostgresProgram, stack: number): void {
  try {
    failStackCheck(program)
  } catch (error) {
    program.module.stackRestore(stack)
    if (!isMainLoopError(error)) throw error
  }
}

function isMainLoopError(error: unknown): boolean {
  return (error as { status?: unknown } | null)?.status === MAIN_LOOP_ERROR
}

/** What this process holds in memory when it holds nothing that it does not need. */
import { setImmediate as turn } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'

/** In bytes, after all that nobody needs any more was collected. */
export interface MemoryUse {
  /** Objects of V8's heap. */
  readonly objects: number
  /** Compiled code. */
  readonly code: number
  /** Held outside of the heap by objects of it, buffers among them. */
  readonly external: number
  /** Of the process as the system counts it. */
  readonly resident: number
}

/** Collects the garbage first, for which the process must run with `--expose-gc`. */
export async function memoryUse(): Promise<MemoryUse> {
  await collect()
  let objects = 0
  let code = 0
  for (const { space_name: name, space_used_size: used } of getHeapSpaceStatistics()) {
    if (CODE_SPACES.test(name)) code += used
    else objects += used
  }
  const { external, rss } = process.memoryUsage()
  return { objects, code, external, resident: rss }
}

/** V8 keeps machine code apart, and from Node 22 on what belongs to it, too. */
const CODE_SPACES = /^(?:code|trusted|shared_trusted)_/

/** What is told of a collection, such as the end of what weak references lead to, comes to pass in a later turn, and frees more. */
async function collect(): Promise<void> {
  if (global.gc === undefined) throw new Error('the process must run with --expose-gc')
  for (let round = 0; round < ROUNDS; round++) {
    global.gc()
    await turn()
  }
  global.gc()
}

const ROUNDS = 3

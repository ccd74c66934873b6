/** The parts of PGlite's WebAssembly program that the worker calls or looks at. */
import type { EngineMemory } from './engine-memory.js'
import type { MemoryFile } from './file-limit.js'
import type { WasmGlobal, WasmTable } from './web-assembly.js'

/** A started PostgreSQL. */
export interface PostgresProgram {
  readonly module: PostgresModule
  readonly exports: PostgresExports
  readonly memory: EngineMemory
}

/** What Emscripten puts around the program. PGlite's own type knows only some of it. */
export interface PostgresModule {
  readonly FS: {
    readdir(path: string): string[]
    readFile(path: string): Uint8Array
    /** With `canOwn` the file keeps the bytes themselves. */
    writeFile(path: string, bytes: Uint8Array, options?: { canOwn: boolean }): void
    mkdir(path: string): void
    mkdirTree(path: string): void
    lookupPath(path: string): { readonly node: MemoryFile }
  }
  readonly MEMFS: {
    /** Makes room in a file. Whatever grows does it here. */
    expandFileStorage(file: MemoryFile, capacity: number): void
  }
  /** Puts a function into the program's table. `signature` is a letter for the result and each argument. */
  addFunction(callback: (...values: number[]) => number | void, signature: string): number
  stackSave(): number
  stackRestore(pointer: number): void
  _malloc(length: number): number
  _free(address: number): void
  _pgl_set_rw_cbs(read: number, write: number): void
  _pgl_pq_flush(): void
  _PostgresMainLoopOnce(): void
  _PostgresMainLongJmp(): void
  _PostgresSendReadyForQueryIfNecessary(): void
  _IsTransactionBlock(): number
  _find_option(name: number, createPlaceholders: number, skipErrors: number, level: number): number
  _GetConfigOption(name: number, missingOk: number, restrictPrivileged: number): number
  _GetConfigOptionByName(name: number, canonicalName: number, missingOk: number): number
}

/** What the program itself exports. Variables come as the addresses of their values. */
export interface PostgresExports {
  readonly __indirect_function_table: WasmTable
  readonly InterruptPending: WasmGlobal
  readonly QueryCancelPending: WasmGlobal
  /** Above 0, PostgreSQL leaves interrupts for later. */
  readonly InterruptHoldoffCount: WasmGlobal
  /** Holds a pointer to the latch that PostgreSQL sleeps on, whose first word tells that it is set. */
  readonly MyLatch: WasmGlobal
  check_stack_depth(): void
  emscripten_stack_get_current(): number
  _emscripten_stack_restore(pointer: number): void
  WaitLatch: () => void
  nanosleep: () => void
  usleep: () => void
}

/** Calls `use` with the address of a NUL-terminated copy of `text`. */
export function withText<T>(
  { module, memory }: PostgresProgram,
  text: string,
  use: (address: number) => T,
): T {
  const bytes = Buffer.from(`${text}\0`, 'utf8')
  const address = module._malloc(bytes.length)
  memory.write(address, bytes)
  try {
    return use(address)
  } finally {
    module._free(address)
  }
}

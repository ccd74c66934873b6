/** Starts PGlite so that other threads can reach into it, and nothing that it runs can take its thread down. */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Extension, PGliteOptions } from '@electric-sql/pglite'
import { createEngineMemory } from './engine-memory.js'
import { hookImports, type ProgramImports } from './import-hooks.js'
import type { PostgresExports, PostgresModule, PostgresProgram } from './postgres-program.js'
import { MAXIMUM_PAGES, withSharedMemory } from './shared-memory-wasm.js'
import { webAssembly, type WasmInstance } from './web-assembly.js'

export interface PostgresStart {
  database: string
  /** A gzipped tar of a data directory, see `createDump`. */
  dump: Uint8Array | undefined
  dataDirectory: string | undefined
}

/** PostgreSQL, and how to stop it so that its data directory needs no recovery. */
export interface StartedPostgres extends PostgresProgram {
  stop(): Promise<void>
}

/** @param entry the path of PGlite's main module */
export async function startPostgres(entry: string, start: PostgresStart): Promise<StartedPostgres> {
  const { PGlite } = await import('@electric-sql/pglite')
  const wasm = await webAssembly.compile(
    withSharedMemory(await readFile(join(dirname(entry), 'pglite.wasm'))),
  )
  const memory = new webAssembly.Memory({
    initial: INITIAL_PAGES,
    maximum: MAXIMUM_PAGES,
    shared: true,
  })
  let exports: PostgresExports | undefined
  // PGlite would wait for ever for a program that cannot be made.
  let failed: (reason: unknown) => void = () => {}
  const failure = new Promise<never>((_resolve, reject) => (failed = reject))
  let attach: ((program: PostgresProgram) => void) | undefined
  const reach: Extension = {
    name: 'reach',
    setup: async (_pglite: unknown, options: object) => ({
      emscriptenOpts: {
        ...options,
        wasmMemory: memory,
        instantiateWasm: (imports: ProgramImports, started: InstantiationCallback) => {
          attach = hookImports(imports)
          webAssembly.instantiate(wasm, imports).then((instance) => {
            exports = instance.exports as PostgresExports
            started(instance, wasm)
          }, failed)
          return {}
        },
      },
    }),
  }
  const options: PGliteOptions = {
    database: start.database,
    pgliteWasmModule: wasm,
    startParams: START_PARAMETERS,
    extensions: { reach },
    ...(start.dump === undefined ? {} : { loadDataDir: new Blob([gunzipSync(start.dump)]) }),
    ...(start.dataDirectory === undefined ? {} : { dataDir: `file://${start.dataDirectory}` }),
  }
  const pglite = await Promise.race([PGlite.create(options), failure])
  const module = pglite.Module as unknown as PostgresModule
  shareLibraries(module)
  const program: PostgresProgram = {
    module,
    exports: exports!,
    memory: createEngineMemory(memory),
  }
  attach!(program)
  return { ...program, stop: () => pglite.close() }
}

type InstantiationCallback = (instance: WasmInstance, module: object) => void

/** What PGlite takes itself. */
const INITIAL_PAGES = 2_048

/**
 * PGlite's own parameters, without two of them: clients get the search path of every PostgreSQL, and may not change system tables.
 * The depth is what the stack of the worker's thread surely holds.
 */
const START_PARAMETERS: string[] = [
  '--single',
  '-F',
  '-j',
  ...Object.entries({
    exit_on_error: 'false',
    log_checkpoints: 'false',
    max_worker_processes: '0',
    max_parallel_workers: '0',
    max_parallel_workers_per_gather: '0',
    max_parallel_maintenance_workers: '0',
    io_method: 'sync',
    max_stack_depth: '200kB',
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
]

/** Libraries such as PL/pgSQL are loaded when they are first used, and must be of one kind with the program's memory. */
function shareLibraries({ FS }: PostgresModule): void {
  for (const file of FS.readdir(LIBRARY_DIRECTORY)) {
    if (!file.endsWith('.so')) continue
    const path = `${LIBRARY_DIRECTORY}/${file}`
    FS.writeFile(path, withSharedMemory(FS.readFile(path)))
  }
}

const LIBRARY_DIRECTORY = '/pglite/lib/postgresql'

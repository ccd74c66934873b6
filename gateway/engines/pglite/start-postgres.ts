/** Starts PGlite so that other threads can reach into it, and nothing that it runs can take its thread down. */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Extension, PGliteOptions } from '@electric-sql/pglite'
import { DATA_DIRECTORY, loadPglite } from './create-dump.js'
import { unpackFiles, type ArchivedFile } from './data-archive.js'
import { createEngineMemory } from './engine-memory.js'
import { hookImports, type ProgramImports } from './import-hooks.js'
import type { PostgresExports, PostgresModule, PostgresProgram } from './postgres-program.js'
import { MAXIMUM_PAGES, withSharedMemory } from './shared-memory-wasm.js'
import { webAssembly, type WasmInstance, type WasmMemory } from './web-assembly.js'

export interface PostgresStart {
  database: string
  /** The data to begin with, see `createDump`. */
  dump: Uint8Array | undefined
  /** Where the data is, when it does not begin with a dump. */
  dataDirectory: string | undefined
}

/** PostgreSQL, and how to stop it so that its data directory needs no recovery. */
export interface StartedPostgres extends PostgresProgram {
  stop(): Promise<void>
}

/** @param entry the path of PGlite's main module */
export async function startPostgres(entry: string, start: PostgresStart): Promise<StartedPostgres> {
  const { database, dump, dataDirectory } = start
  const [{ PGlite }, wasm, files] = await Promise.all([
    loadPglite(),
    compile(join(dirname(entry), 'pglite.wasm')),
    dump === undefined ? [] : unpackFiles(dump),
  ])
  const memory = new webAssembly.Memory({
    initial: INITIAL_PAGES,
    maximum: MAXIMUM_PAGES,
    shared: true,
  })
  const reach = createReach(wasm, memory, files)
  const options: PGliteOptions = {
    database,
    pgliteWasmModule: wasm,
    startParams: START_PARAMETERS,
    extensions: { reach: reach.extension },
    ...(dataDirectory === undefined ? {} : { dataDir: `file://${dataDirectory}` }),
  }
  const pglite = await Promise.race([PGlite.create(options), reach.failure])
  const module = pglite.Module as unknown as PostgresModule
  shareLibraries(module)
  const program = { module, exports: reach.exports(), memory: createEngineMemory(memory) }
  reach.attach(program)
  return { ...program, stop: () => pglite.close() }
}

async function compile(path: string): Promise<object> {
  return webAssembly.compile(withSharedMemory(await readFile(path)))
}

interface Reach {
  readonly extension: Extension
  /** Rejects when the program cannot be made. PGlite would wait for ever. */
  readonly failure: Promise<never>
  exports(): PostgresExports
  attach(program: PostgresProgram): void
}

/** An extension in PGlite's sense, since those may change how the program is put together. */
function createReach(wasm: object, memory: WasmMemory, files: readonly ArchivedFile[]): Reach {
  let exports: PostgresExports | undefined
  let attach: ((program: PostgresProgram) => void) | undefined
  let fail: (reason: unknown) => void = () => {}
  const failure = new Promise<never>((_resolve, reject) => (fail = reject))
  const instantiateWasm = (imports: ProgramImports, started: Started): object => {
    attach = hookImports(imports)
    webAssembly.instantiate(wasm, imports).then((instance) => {
      exports = instance.exports as PostgresExports
      started(instance, wasm)
    }, fail)
    return {}
  }
  const setup = async (_pglite: unknown, options: EmscriptenOptions): Promise<object> => {
    const preRun = [...options.preRun, (module: PostgresModule) => writeFiles(module, files)]
    return { emscriptenOpts: { ...options, wasmMemory: memory, instantiateWasm, preRun } }
  }
  return {
    extension: { name: 'reach', setup },
    failure,
    exports: () => exports!,
    attach: (program) => attach!(program),
  }
}

interface EmscriptenOptions {
  readonly preRun: readonly ((module: PostgresModule) => void)[]
}

type Started = (instance: WasmInstance, module: object) => void

/** What PGlite takes itself. */
const INITIAL_PAGES = 2_048

/**
 * PGlite's own parameters, without two of them: clients get the search path of every PostgreSQL, and may not change system tables.
 * The files are in memory anyway, so a quarter of the usual buffers will do. The depth is what the thread's stack surely holds.
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
    shared_buffers: '32MB',
    max_wal_size: '32MB',
    min_wal_size: '2MB',
    temp_file_limit: '512MB',
    max_stack_depth: '200kB',
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
]

function writeFiles({ FS }: PostgresModule, files: readonly ArchivedFile[]): void {
  if (files.length > 0) FS.mkdirTree(DATA_DIRECTORY)
  for (const { path, bytes } of files) {
    const place = `${DATA_DIRECTORY}/${path}`
    if (bytes === undefined) FS.mkdir(place)
    // The file may keep the bytes as its own until something is written to it.
    else FS.writeFile(place, bytes, { canOwn: true })
  }
}

/** Libraries such as PL/pgSQL are loaded when they are first used, and must be of one kind with the program's memory. */
function shareLibraries({ FS }: PostgresModule): void {
  for (const file of FS.readdir(LIBRARY_DIRECTORY)) {
    if (!file.endsWith('.so')) continue
    const path = `${LIBRARY_DIRECTORY}/${file}`
    FS.writeFile(path, withSharedMemory(FS.readFile(path)))
  }
}

const LIBRARY_DIRECTORY = '/pglite/lib/postgresql'

/**
 * Puts the compiled modules together into few files: a process that starts cold reads one of 100 kB several times as fast as a
 * hundred of 1 kB, and an import of the core costs a few milliseconds.
 *
 * What several entries share has files of its own, so that it is there once in a process whichever of them it loads.
 */
import { readFileSync } from 'node:fs'
import { isAbsolute } from 'node:path'

const COMPILED = 'build/package'
/** Tells a worker thread's file where it is, so it stays a file in the same place. */
const WORKER_FILE = 'gateway/engines/pglite/worker-file.cjs'

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = [
  ...Object.values(exports).flatMap((entry) => entry.import?.default ?? []),
  // For nobody to import: what the worker thread runs.
  './dist/esm/gateway/engines/pglite/worker.js',
].map((file) => file.replace('./dist/esm/', '').replace(/\.js$/, ''))

/** @type {import('rollup').RollupOptions} */
export default {
  input: Object.fromEntries(entries.map((entry) => [entry, `${COMPILED}/${entry}.js`])),
  external: (id) => id.endsWith('.cjs') || !(id.startsWith('.') || isAbsolute(id)),
  treeshake: { moduleSideEffects: false },
  plugins: [{ name: 'worker-file', generateBundle: emitWorkerFile }],
  onwarn(warning) {
    throw new Error(warning.message)
  },
  output: [
    { dir: 'dist/esm', format: 'es', chunkFileNames: 'shared/[name].js', manualChunks },
    {
      dir: 'dist/cjs',
      format: 'cjs',
      chunkFileNames: 'shared/[name].js',
      manualChunks,
      esModule: true,
      exports: 'named',
      // A peer that is CommonJS is its own default export, one that was an ES module has one.
      interop: 'auto',
      // Not every runtime of CommonJS has `import()`: Jest has none.
      dynamicImportInCjs: false,
    },
  ],
}

/**
 * All that `pg-iam` itself loads is one file, and what the clients need of the core besides it is another: each costs half a millisecond,
 * and nearly every entry needs most of it.
 */
function manualChunks(id, { getModuleInfo, getModuleIds }) {
  const index = [...getModuleIds()].find((known) => known.endsWith(`${COMPILED}/core/index.js`))
  if (importedBy(index, getModuleInfo).has(id)) return 'core'
  return id.includes(`${COMPILED}/core/`) ? 'connection' : undefined
}

function importedBy(id, getModuleInfo, found = new Set()) {
  if (found.has(id)) return found
  found.add(id)
  for (const imported of getModuleInfo(id).importedIds) importedBy(imported, getModuleInfo, found)
  return found
}

/** @this {import('rollup').PluginContext} */
function emitWorkerFile({ format }) {
  const emit = (fileName, source) => this.emitFile({ type: 'asset', fileName, source })
  emit(WORKER_FILE, readFileSync(`${COMPILED}/${WORKER_FILE}`, 'utf8'))
  if (format === 'cjs') emit('package.json', '{"type":"commonjs"}\n')
}

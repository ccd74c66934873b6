/**
 * Puts the compiled modules together into few files: a process that starts cold reads one of 100 kB several times as fast as a
 * hundred of 1 kB, and an import of the core costs a few milliseconds.
 *
 * What several entries share has files of its own, so that it is there once in a process whichever of them it loads.
 */
import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, posix, resolve } from 'node:path'
import commonjs from '@rollup/plugin-commonjs'
import inject from '@rollup/plugin-inject'
import json from '@rollup/plugin-json'
import { nodeResolve } from '@rollup/plugin-node-resolve'

const COMPILED = 'build/package'
/** Tells a worker thread's file where it is, so it stays a file in the same place. */
const WORKER_FILE = 'gateway/engines/pglite/worker-file.cjs'
const WORKER = 'gateway/engines/pglite/worker'

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = [
  ...Object.values(exports).flatMap((entry) => entry.import?.default ?? []),
  // For nobody to import: what the worker thread runs.
  `./dist/esm/${WORKER}.js`,
].map((file) => file.replace('./dist/esm/', '').replace(/\.js$/, ''))

/** What `pg-iam` runs. */
const COMMAND = 'cli/main'

const input = Object.fromEntries(entries.map((entry) => [entry, `${COMPILED}/${entry}.js`]))
const isExternal = (id) => id.endsWith('.cjs') || !(id.startsWith('.') || isAbsolute(id))

/** What `--import pg-iam/register` runs, the hooks of `module.register`, and the state that they share with the modules that they make. */
const HOOKS = 'node_modules/import-in-the-middle'
const REGISTER = {
  'register/index': `${COMPILED}/register/index.js`,
  'register/hook': '\0hook.mjs',
  'register/lib/register': '\0lib/register.js',
}
/** Their files by name: of a CommonJS file rollup would export the default only, and a file of elsewhere changes the paths of what is external. */
const EXPORTS_OF_HOOKS = {
  [REGISTER['register/hook']]: 'initialize, load, resolve',
  [REGISTER['register/lib/register']]: 'register, ModuleBinder',
}

/** What the command needs, and users of the package do not: it becomes a part of the command, so that there is nothing to install. */
const OF_COMMAND = ['commander', 'prom-client', 'tdigest', 'bintrees', '@opentelemetry/api']
const OF_REGISTER = [
  'import-in-the-middle',
  'require-in-the-middle',
  'module-details-from-path',
  'cjs-module-lexer',
  'es-module-lexer',
]
const OF_BROWSER = [
  'postgres',
  'readable-stream',
  'buffer',
  'events',
  'string_decoder',
  'abort-controller',
  'event-target-shim',
  'base64-js',
  'ieee754',
  'safe-buffer',
  'process',
]
const isBundled = (id) =>
  /[/\\]node_modules[/\\]/.test(id) ||
  [...OF_COMMAND, ...OF_REGISTER].some((name) => id === name || id.startsWith(`${name}/`))
const isOfRegister = (id) =>
  Object.hasOwn(EXPORTS_OF_HOOKS, id) ||
  id.includes(`${COMPILED}/register/`) ||
  OF_REGISTER.some((name) => id.includes(`node_modules/${name}/`)) ||
  id.includes(NO_DEBUG)

const entriesOfHooks = {
  name: 'entries-of-hooks',
  resolveId: (id) => (Object.hasOwn(EXPORTS_OF_HOOKS, id) ? id : undefined),
  load: (id) =>
    Object.hasOwn(EXPORTS_OF_HOOKS, id)
      ? `export { ${EXPORTS_OF_HOOKS[id]} } from ${JSON.stringify(resolve(HOOKS, id.slice(1)))}`
      : undefined,
}

/** An ES module has no `require`, whose cache and `resolve` require-in-the-middle uses. */
const withRequire = {
  name: 'with-require',
  transform(code, id) {
    if (!id.endsWith('node_modules/require-in-the-middle/index.js')) return null
    const known = "const Module = require('module')"
    if (!code.includes(known)) throw new Error(`${id} does not load "module" as expected`)
    return {
      code: code
        .replaceAll(/\brequire\.(cache|resolve)\b/g, 'ownRequire.$1')
        .replace(known, `${known}\nconst ownRequire = Module.createRequire(process.execPath)`),
      map: null,
    }
  },
}

/**
 * Two copies of import-in-the-middle (3.6) in one process mark what they wrap with the same parameter of a URL, so that a module that one of
 * them has wrapped is not wrapped by the other: with OpenTelemetry, drivers were not reached. This copy has a name of its own, and keeps its
 * mark on what the wrapper of another copy imports.
 */
const withOwnMark = {
  name: 'with-own-mark',
  transform(code, id) {
    if (!id.endsWith(`${HOOKS}/create-hook.mjs`)) return null
    const keepMark = `if (hasIitm(specifier)) {
      const isIn = (name) => result.url.includes('/node_modules/' + name + '/')
      specifiers.set(result.url, includeModules.find(isIn))
      return { ...result, url: addIitm(result.url), shortCircuit: true }
    }`
    const included = 'if (!shouldInclude(result.url, specifier)) {'
    const changes = [
      ["'iitm'", "'pg-iam'"],
      ['?iitm=', '?pg-iam='],
      ['__import_in_the_middle_initialized__', '__pg_iam_hook_initialized__'],
      [included, `${keepMark}\n    ${included}`],
    ]
    for (const [known] of changes)
      if (!code.includes(known)) throw new Error(`${id} does not contain ${known}`)
    return {
      code: changes.reduce((text, [known, own]) => text.replaceAll(known, own), code),
      map: null,
    }
  },
}

/** require-in-the-middle's messages for its own developers. */
const NO_DEBUG = 'node_modules/debug/none.cjs'
const withoutDebug = {
  name: 'without-debug',
  resolveId: (id) => (id === 'debug' ? resolve(NO_DEBUG) : undefined),
  load: (id) => (id === resolve(NO_DEBUG) ? 'module.exports = () => () => {}' : undefined),
}
const common = {
  input,
  treeshake: { moduleSideEffects: false },
  onwarn(warning) {
    throw new Error(warning.message)
  },
}
const workerFile = {
  name: 'worker-file',
  renderChunk: withPathOfWorkerFile,
  generateBundle: emitWorkerFile,
}

/**
 * The package that each adapter makes something of, and the packages that this one needs. They are imported as any other, which
 * is what bundlers know best.
 */
const CLIENTS = {
  kysely: ['kysely'],
  pg: ['pg'],
  postgres: ['postgres'],
  '@prisma/adapter-pg': ['@prisma/adapter-pg', 'pg'],
  '@sequelize/core': ['@sequelize/core', '@sequelize/postgres', 'pg'],
  '@sequelize/postgres': ['@sequelize/core', '@sequelize/postgres', 'pg'],
  'drizzle-orm/node-postgres': ['drizzle-orm', 'pg'],
  'drizzle-orm/postgres-js': ['drizzle-orm', 'postgres'],
}

/** @type {import('rollup').RollupOptions[]} */
export default [
  {
    ...common,
    input: { ...input, ...REGISTER, [COMMAND]: `${COMPILED}/${COMMAND}.js` },
    // The bundled packages count on what their modules do when they are loaded.
    treeshake: { moduleSideEffects: (id) => /[/\\]node_modules[/\\]/.test(id) },
    external: (id, importer) =>
      importer !== undefined &&
      isExternal(id) &&
      !id.startsWith('\0') &&
      !isBundled(id) &&
      !isBundled(importer ?? ''),
    plugins: [
      workerFile,
      entriesOfHooks,
      withRequire,
      withOwnMark,
      withoutDebug,
      bundledOnly(nodeResolve({ preferBuiltins: true })),
      json(),
      commonjs({ include: /node_modules/ }),
      { name: 'licences', generateBundle: emitLicencesOfNode },
    ],
    output: {
      dir: 'dist',
      format: 'es',
      entryFileNames: ({ name }) =>
        name === COMMAND || Object.hasOwn(REGISTER, name) ? '[name].js' : 'esm/[name].js',
      chunkFileNames: ({ moduleIds }) => {
        if (moduleIds.some(isOfRegister)) return 'register/[name].js'
        return moduleIds.some((id) => id.includes(`${COMPILED}/cli/`) || isBundled(id))
          ? 'cli/[name].js'
          : 'esm/shared/[name].js'
      },
      manualChunks: (id, graph) => manualChunks(id, graph) ?? chunkOfCommand(id, graph),
    },
  },
  {
    ...common,
    external: (id) => isExternal(id) && !id.startsWith('\0') && !Object.hasOwn(CLIENTS, id),
    plugins: [workerFile, requiredClients(), requiredPeers()],
    output: {
      dir: 'dist/cjs',
      format: 'cjs',
      chunkFileNames: 'shared/[name].js',
      manualChunks,
      esModule: true,
      exports: 'named',
      interop: 'auto',
      // Not every runtime of CommonJS has `import()`: Jest has none.
      dynamicImportInCjs: false,
    },
  },
  {
    ...common,
    input: {
      index: `${COMPILED}/browser/index.js`,
      'postgres-js-websocket': `${COMPILED}/adapters/postgres-js-websocket.js`,
    },
    // readable-stream's modules require each other.
    onwarn(warning) {
      const isTheirs = warning.ids?.every((id) => id.includes('node_modules')) === true
      if (warning.code !== 'CIRCULAR_DEPENDENCY' || !isTheirs) throw new Error(warning.message)
    },
    // The bundled packages count on what their modules do when they are loaded.
    treeshake: { moduleSideEffects: (id) => /[/\\]node_modules[/\\]/.test(id) },
    // Bundlers take it, or leave it out if it is not installed.
    external: ['@aws-sdk/dsql-signer'],
    plugins: [
      browserModules(),
      nodeResolve({ browser: true, preferBuiltins: false }),
      json(),
      commonjs({ include: /node_modules/ }),
      inject({
        exclude: [`${COMPILED}/browser/node.js`],
        modules: {
          Buffer: ['buffer/', 'Buffer'],
          process: [resolve(`${COMPILED}/browser/node.js`), 'process'],
          setImmediate: [resolve(`${COMPILED}/browser/node.js`), 'setImmediate'],
        },
      }),
      {
        name: 'licences-of-browser',
        generateBundle() {
          emitLicences.call(this, 'browser', 'These files contain these packages.', OF_BROWSER)
        },
      },
    ],
    output: {
      dir: 'dist/browser',
      format: 'es',
      entryFileNames: '[name].js',
      chunkFileNames: 'shared/[name].js',
    },
  },
]

/** What a browser has in place of Node's modules, and of what of ours needs them. */
function browserModules() {
  const own = (name) => resolve(`${COMPILED}/browser/${name}.js`)
  const packages = {
    'node:stream': 'readable-stream',
    'node:events': 'events/',
    'node:buffer': 'buffer/',
    postgres: resolve('node_modules/postgres/cf/src/index.js'),
  }
  const platform = ['diagnostics_channel', 'async_hooks', 'util/types', 'fs']
  const replaced = {
    'core/connection/web-socket-dial.js': 'web-socket-dial',
    'core/login-from.js': 'login-from',
    'core/load-peer.js': 'load-peer',
  }
  /** Only what a login in a browser never gets to. */
  const absent = ['node:tls', '@aws-sdk/credential-providers', './amazon-roots.js']
  return {
    name: 'browser-modules',
    resolveId(id, importer = '', options) {
      if (Object.hasOwn(packages, id)) return this.resolve(packages[id], importer, options)
      if (platform.some((name) => id === `node:${name}`)) return own('node')
      if (id === '../polyfills.js' && importer.includes('/postgres/cf/')) return own('node')
      if (id.endsWith('/sigv4.js') && importer.endsWith('core/providers/aurora-dsql.js'))
        return own('presigner')
      const path = id.startsWith('.') ? resolve(importer, '..', id) : ''
      const found = Object.keys(replaced).find((name) => path === resolve(COMPILED, name))
      return found === undefined ? undefined : own(replaced[found])
    },
    resolveDynamicImport: (id) => (absent.includes(id) ? '\0absent' : undefined),
    load: (id) =>
      id === '\0absent' ? "throw new Error('a browser does not have this module')" : undefined,
  }
}

/**
 * In CommonJS, a client that is not installed is `ERR_PEER_MISSING`. An ES module cannot catch that: the modules that it imports are
 * looked for before any of its own code runs, and to await an import instead would keep others from requiring it.
 */
function requiredClients() {
  return {
    name: 'required-clients',
    resolveId: (id) => (Object.hasOwn(CLIENTS, id) ? `\0${id}` : undefined),
    load(id) {
      if (!id.startsWith('\0') || !Object.hasOwn(CLIENTS, id.slice(1))) return undefined
      const client = id.slice(1)
      const names = CLIENTS[client].map((name) => `'${name}'`).join(', ')
      const code = `
        import { peerError } from '${resolve(COMPILED, 'core/load-peer.js')}'
        // In a function of its own: bundlers take for optional what is required in a \`try\`.
        function load() {
          return require('${client}')
        }
        function loadClient() {
          try {
            return load()
          } catch (error) {
            throw peerError(error, ${names})
          }
        }
        export const client = loadClient()
        // One that is CommonJS is its own default export, one that was an ES module has one.
        export default client.__esModule ? client.default : client`
      return { code, syntheticNamedExports: 'client', moduleSideEffects: false }
    },
  }
}

/** What is imported in a `try`, because it is optional, is required right there, too: in a function bundlers would insist on it. */
function requiredPeers() {
  return {
    name: 'required-peers',
    renderDynamicImport({ targetModuleId }) {
      if (!isExternal(targetModuleId) || targetModuleId.startsWith('node:')) return null
      return {
        left: '((loaded) => (loaded.__esModule ? loaded : { ...loaded, default: loaded }))(require(',
        right: '))',
      }
    },
  }
}

/**
 * All that `pg-iam` itself loads is one file, and what the clients need besides it is another: each file costs half a millisecond, and
 * nearly every entry needs most of both. What the worker thread of PGlite shares with them is a third: it must not load TLS.
 */
function manualChunks(id, { getModuleInfo, getModuleIds }) {
  // The gateway and the migrations share these. The worker thread of PGlite needs the first only.
  if (id.endsWith(`${COMPILED}/core/sql.js`)) return 'sql'
  if (id.includes(`${COMPILED}/dsql/`)) return 'dsql'
  // The option of the adapters loads the rest with the first connection.
  if (id.endsWith(`${COMPILED}/migrations/in-options.js`)) return 'connection'
  if (id.includes(`${COMPILED}/migrations/`) && !id.endsWith('/index.js')) return 'migrations'
  const modules = [...getModuleIds()]
  const index = modules.find((known) => known.endsWith(`${COMPILED}/core/index.js`))
  if (importedBy(index, getModuleInfo).has(id)) return 'core'
  const worker = modules.find((known) => known.endsWith(`${COMPILED}/${WORKER}.js`))
  if (id.includes(`${COMPILED}/wire/`) && importedBy(worker, getModuleInfo).has(id)) return 'wire'
  // Neither the entries nor the clients that they load, each of which may be missing.
  const isOurs = id.includes(`${COMPILED}/core/`) || id.includes(`${COMPILED}/wire/`)
  if (!isOurs) return undefined
  const adapters = modules.filter((known) => known.includes(`${COMPILED}/adapters/`))
  const isOfConnections = adapters.some((adapter) => importedBy(adapter, getModuleInfo).has(id))
  return isOfConnections ? 'connection' : undefined
}

function importedBy(id, getModuleInfo, found = new Set()) {
  if (found.has(id)) return found
  found.add(id)
  for (const imported of getModuleInfo(id).importedIds) importedBy(imported, getModuleInfo, found)
  return found
}

/**
 * The chunks that exist because of the command: what it shares with the gateway is one file, which the gateway's entry consists of, and each
 * package that is bundled into it is one.
 */
function chunkOfCommand(id, { getModuleInfo, getModuleIds }) {
  const [, name] = /node_modules[/\\]((?:@[^/\\]+[/\\])?[^/\\]+)/.exec(id) ?? []
  if (isOfRegister(id)) return undefined
  if (name !== undefined) return name === 'commander' ? name : 'prom-client'
  const gateway = [...getModuleIds()].find((known) =>
    known.endsWith(`${COMPILED}/gateway/index.js`),
  )
  const isOfGateway = id.includes(`${COMPILED}/gateway/`) || id.includes(`${COMPILED}/wire/`)
  if (!isOfGateway || id === gateway) return undefined
  const worker = [...getModuleIds()].find((known) => known.endsWith(`${COMPILED}/${WORKER}.js`))
  if (importedBy(worker, getModuleInfo).has(id)) return undefined
  return importedBy(gateway, getModuleInfo).has(id) ? 'gateway' : undefined
}

/** Only the bundled packages are looked for: everything else is a file of ours, or the user's to install. */
function bundledOnly(plugin) {
  const { handler } = plugin.resolveId
  return {
    ...plugin,
    resolveId: {
      ...plugin.resolveId,
      handler(id, importer, options) {
        if (!isBundled(id) && !isBundled(importer ?? '')) return null
        return handler.call(this, id, importer, options)
      },
    },
  }
}

/** @this {import('rollup').PluginContext} */
function emitLicencesOfNode() {
  emitLicences.call(this, 'cli', 'The command contains these packages.', OF_COMMAND)
  emitLicences.call(
    this,
    'register',
    'pg-iam/register contains these packages. The build changes two of them: rollup.config.js says how.',
    OF_REGISTER,
  )
}

/** @this {import('rollup').PluginContext} */
function emitLicences(folder, title, names) {
  const texts = names.map((name) => {
    const path = folderOf(name)
    const { version } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8'))
    const files = ['LICENSE', 'NOTICE'].map((file) => `${path}/${file}`).filter(existsSync)
    const text = files.map((file) => readFileSync(file, 'utf8').trim()).join('\n\n')
    return `${name} ${version}\n\n${text}\n`
  })
  const source = `${title}\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`
  const fileName = folder === 'browser' ? 'LICENSES.txt' : `${folder}/LICENSES.txt`
  this.emitFile({ type: 'asset', fileName, source })
}

/** Other packages may need another version, which is then the one at the top. */
function folderOf(name) {
  const own = `${HOOKS}/node_modules/${name}`
  return existsSync(own) ? own : `node_modules/${name}`
}

/** rollup takes the file to be beside `esm`, since that is where the output begins. */
function withPathOfWorkerFile(code, { fileName }, { format }) {
  if (format !== 'es') return null
  const path = posix.relative(posix.dirname(fileName), `esm/${WORKER_FILE}`)
  const specifier = path.startsWith('.') ? path : `./${path}`
  return code.replaceAll(
    /(['"])[./]+\/gateway\/engines\/pglite\/worker-file\.cjs\1/g,
    `'${specifier}'`,
  )
}

/** @this {import('rollup').PluginContext} */
function emitWorkerFile({ format }) {
  const folder = format === 'es' ? 'esm/' : ''
  const emit = (name, source) =>
    this.emitFile({ type: 'asset', fileName: `${folder}${name}`, source })
  emit(WORKER_FILE, readFileSync(`${COMPILED}/${WORKER_FILE}`, 'utf8'))
  if (format === 'cjs') emit('package.json', '{"type":"commonjs"}\n')
}

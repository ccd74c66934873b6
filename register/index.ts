/**
 * `node --import pg-iam/register app.js`: logs every pg and Postgres.js of the process in, without a change to the application.
 *
 * It is built as ES modules only, since the hooks of `module.register` are. All of it is synchronous, so that `require` can load it, too.
 */
import { readFileSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { join } from 'node:path'
import { isMainThread, parentPort } from 'node:worker_threads'
import { Hook as ImportHook, type Namespace } from 'import-in-the-middle'
import {
  register as registerSync,
  supportsSyncHooks,
} from 'import-in-the-middle/register-hooks.mjs'
import { Hook as RequireHook } from 'require-in-the-middle'
import { isPgIamError } from '../core/errors.js'
import { type Context, patchPg, patchPostgres, type PgExports } from './drivers.js'
import { readSettings, type Settings } from './target.js'

/** The drivers, and the oldest versions that are tested. */
const OLDEST = { pg: [8, 20, 0], postgres: [3, 4, 5] } as const
type Driver = keyof typeof OLDEST
const DRIVERS = Object.keys(OLDEST) as Driver[]

/** The hooks of one process are those of the first copy that is loaded. */
const REGISTERED = Symbol.for('pg-iam.registered')

/** Node (20 and later) runs every `--require` in the thread of `module.register` as well, which has no port, and loads no driver. */
const isThreadOfHooks = !isMainThread && parentPort === null

if (!isThreadOfHooks && !Object.hasOwn(globalThis, REGISTERED)) {
  Object.defineProperty(globalThis, REGISTERED, { value: true })
  install(settingsOfProcess())
}

function settingsOfProcess(): Settings {
  try {
    return readSettings(process.env)
  } catch (error) {
    if (!isPgIamError(error)) throw error
    say([error.message, error.hint].filter(Boolean).join('. '))
    process.exit(1)
  }
}

function install(settings: Settings): void {
  const debug = settings.isDebug ? say : () => {}
  const context: Context = { settings, debug }
  const reached = new Set<string>()
  const reach = (name: Driver, folder: string | undefined | void): boolean => {
    const version = versionOf(folder)
    const found = `${name} ${version ?? '(unknown version)'} in ${folder ?? 'an unknown folder'}`
    const isNew = !reached.has(found)
    reached.add(found)
    if (version !== undefined && isOlder(version, OLDEST[name])) {
      if (isNew) say(`${found} is left alone: it must be ${OLDEST[name].join('.')} or newer`)
      return false
    }
    if (name === 'pg' && process.env['NODE_PG_FORCE_NATIVE']) {
      if (isNew)
        say(
          `${found} is left alone: NODE_PG_FORCE_NATIVE is set, and pg-native opens its own connections`,
        )
      return false
    }
    if (isNew) debug(`${found} is reached`)
    return true
  }

  warnOfEarlyDrivers()
  const include = [...DRIVERS]
  if (supportsSyncHooks()) registerSync({ include })
  else nodeModule.register('./hook.js', import.meta.url, { data: { include } })
  // oxlint-disable-next-line no-new
  new ImportHook(include, (namespace: Namespace, name, folder) => {
    if (!reach(name as Driver, folder)) return
    if (name === 'postgres') {
      namespace['default'] = patchPostgres(namespace['default'] as Function, context)
      return
    }
    const pg = namespace['default'] as PgExports
    patchPg(pg, context)
    namespace['Client'] = pg.Client
    namespace['Pool'] = pg.Pool
  })
  // oxlint-disable-next-line no-new
  new RequireHook(include, (exports, name, folder) => {
    if (!reach(name as Driver, folder)) return exports
    if (name === 'postgres') return patchPostgres(exports as Function, context) as typeof exports
    patchPg(exports as PgExports, context)
    return exports
  })
  if (settings.isDebug)
    process.once('exit', () => {
      if (reached.size === 0)
        say('neither pg nor postgres was loaded. A driver within a bundle cannot be reached')
    })
}

/** What took `Client` and `Pool` from a driver before keeps them. */
function warnOfEarlyDrivers(): void {
  const { cache } = nodeModule.createRequire(import.meta.url)
  for (const name of DRIVERS) {
    const inside = new RegExp(`^(.*[/\\\\]node_modules[/\\\\]${name})[/\\\\]`)
    const files = Object.keys(cache).flatMap((file) => inside.exec(file)?.[1] ?? [])
    for (const folder of new Set(files))
      say(
        `${name} in ${folder} was loaded before pg-iam/register, so what uses it already is not reached. Give --import pg-iam/register before every other --import and --require`,
      )
  }
}

function versionOf(folder: string | undefined | void): string | undefined {
  if (folder === undefined) return undefined
  try {
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      version?: unknown
    }
    return typeof version === 'string' ? version : undefined
  } catch {
    return undefined
  }
}

function isOlder(version: string, oldest: readonly number[]): boolean {
  const parts = version.split(/[.-]/, 3).map(Number)
  const index = oldest.findIndex((part, at) => parts[at] !== part)
  return index !== -1 && (parts[index] ?? 0) < oldest[index]!
}

/** At once, also if the process ends next. */
function say(message: string): void {
  process.stderr.write(`pg-iam/register: ${message}\n`)
}

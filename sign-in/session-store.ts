/** Where sessions are stored: the interface, memory, an encrypted file, and the stores of express-session. */
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { isPgIamError, PgIamError } from '../core/errors.js'
import {
  type Check,
  checkClient,
  checkOptions,
  integerWithin,
  invalidOption,
} from '../core/options/check.js'
import { createMutex, sleep } from '../core/async.js'

/**
 * Stores texts for a limited time. Every value is encrypted, and every key is a hash: the store learns neither tokens nor cookies.
 *
 * Several machines share sessions through a common store.
 */
export interface SessionStore {
  /** Resolves with the value, or with `undefined` if there is none, or its time is over. */
  get(key: string): Promise<string | undefined>
  /** @param ttlSecs how long to keep it, in seconds */
  set(key: string, value: string, ttlSecs: number): Promise<void>
  /** Keeps an existing value for `ttlSecs` from now. */
  touch(key: string, ttlSecs: number): Promise<void>
  destroy(key: string): Promise<void>
}

/** The option `store`. */
export const sessionStore: Check<SessionStore> = (value, name) => {
  checkClient(value, name, ['get', 'set', 'touch', 'destroy'], STORE)
  return value as SessionStore
}

const STORE =
  'a store with get, set, touch and destroy, such as memoryStore() or expressSessionStore() returns'

/** The same store, with its errors as `ERR_SIGN_IN_STORE`. `slowestMs` tells how long its calls take. */
export function watchStore(store: SessionStore): SessionStore & { slowestMs(): number } {
  let slowest = 0
  const call = async <T>(work: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now()
    try {
      return await work()
    } catch (cause) {
      if (isPgIamError(cause)) throw cause
      const reason = cause instanceof Error ? cause.message : 'unknown error'
      throw new PgIamError('ERR_SIGN_IN_STORE', `the session store failed: ${reason}`, {
        cause,
        retryable: true,
      })
    } finally {
      slowest = Math.max(slowest * 0.99, performance.now() - startedAt)
    }
  }
  return {
    // Stores in JavaScript may resolve with null.
    get: (key) => call(async () => (await store.get(key)) ?? undefined),
    set: (key, value, ttlSecs) => call(() => store.set(key, value, ttlSecs)),
    touch: (key, ttlSecs) => call(() => store.touch(key, ttlSecs)),
    destroy: (key) => call(() => store.destroy(key)),
    slowestMs: () => slowest,
  }
}

// In memory.

export interface MemoryStoreOptions {
  /**
   * The number of values to keep, from 1 to 1,000,000; further ones are refused. A session needs two, and its sign-in and sign-out one for
   * minutes. Default 20,000.
   */
  maxEntries?: number
}

/**
 * Returns a store in the memory of this process: sessions end with it, and other processes do not have them.
 *
 * Exported from `'pg-iam/sign-in'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`. `set` rejects with `ERR_SIGN_IN_LIMIT` when the store is full.
 */
export function memoryStore(options: MemoryStoreOptions = {}): SessionStore {
  return createMemoryStore(options, Date.now)
}

/** The same with the clock as a parameter. */
export function createMemoryStore(options: MemoryStoreOptions, now: () => number): SessionStore {
  const { maxEntries = 20_000 } = checkOptions(options, {
    maxEntries: integerWithin(1, 1_000_000),
  })
  const entries = new Map<string, { value: string; until: number }>()
  const live = (key: string): { value: string; until: number } | undefined => {
    const entry = entries.get(key)
    if (entry === undefined || entry.until > now()) return entry
    entries.delete(key)
    return undefined
  }
  return {
    get: async (key) => live(key)?.value,
    async set(key, value, ttlSecs) {
      if (!entries.has(key) && entries.size >= maxEntries) {
        for (const old of entries.keys()) live(old)
        if (entries.size >= maxEntries) throw full(maxEntries)
      }
      entries.set(key, { value, until: now() + ttlSecs * 1_000 })
    },
    async touch(key, ttlSecs) {
      const entry = live(key)
      if (entry !== undefined) entry.until = now() + ttlSecs * 1_000
    },
    destroy: async (key) => void entries.delete(key),
  }
}

function full(maxEntries: number): PgIamError {
  return new PgIamError('ERR_SIGN_IN_LIMIT', `the memory store has its ${maxEntries} entries`, {
    hint: 'Give "store" one that several machines share, or raise "maxEntries" of memoryStore().',
    retryable: true,
  })
}

// In a file, for the command line.

/** The file of the command line: in `$XDG_CONFIG_HOME`, or in `~/.config`. */
export function signInFile(env: Readonly<Record<string, string | undefined>>): string {
  const folder = env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config')
  return join(folder, 'pg-iam', 'sign-in.json')
}

/**
 * Returns a store in a file that only its owner can read (mode 0600). For programs of one user, such as a command-line tool: each change
 * rewrites the file.
 *
 * Exported from `'pg-iam/sign-in'`.
 *
 * @param path the file, which is created when it is needed, with its folder
 */
export function fileStore(path: string): SessionStore {
  return createFileStore(path, Date.now)
}

type FileEntries = Record<string, { value: string; until: number }>

/** The same with the clock as a parameter. */
export function createFileStore(path: string, now: () => number): SessionStore {
  if (typeof path !== 'string' || path === '') throw invalidOption('path', 'a file name', path)
  // Changes of this process take turns here, and those of several processes by the lock file.
  const mutex = createMutex()
  const read = async (): Promise<FileEntries> => {
    let content: string
    try {
      content = await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
      throw error
    }
    try {
      const entries = JSON.parse(content) as FileEntries
      return Object.fromEntries(Object.entries(entries).filter(([, { until }]) => until > now()))
    } catch (cause) {
      throw new PgIamError('ERR_SIGN_IN_STORE', `the file ${path} is not a session store`, {
        cause,
        hint: 'Delete it, and sign in again.',
      })
    }
  }
  const change = async (edit: (entries: FileEntries) => void): Promise<void> => {
    const release = await mutex.acquire(new AbortController().signal)
    try {
      await withFileLock(path, () => rewrite(edit))
    } finally {
      release()
    }
  }
  const rewrite = async (edit: (entries: FileEntries) => void): Promise<void> => {
    const entries = await read()
    edit(entries)
    if (Object.keys(entries).length === 0) {
      await rm(path, { force: true })
      return
    }
    // A name that nobody can foresee, so that nobody can put a link there.
    const temporary = `${path}.${randomUUID()}.tmp`
    try {
      const file = await open(temporary, 'wx', 0o600)
      try {
        await file.writeFile(JSON.stringify(entries))
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  }
  return {
    get: async (key) => (await read())[key]?.value,
    set: (key, value, ttlSecs) =>
      change((entries) => {
        entries[key] = { value, until: now() + ttlSecs * 1_000 }
      }),
    touch: (key, ttlSecs) =>
      change((entries) => {
        const entry = entries[key]
        if (entry !== undefined) entry.until = now() + ttlSecs * 1_000
      }),
    destroy: (key) =>
      change((entries) => {
        // oxlint-disable-next-line typescript/no-dynamic-delete -- the file has the keys as they are
        delete entries[key]
      }),
  }
}

/**
 * Runs `work` while no other process has the lock of `path`. A lock is a file, whose time its holder renews. One whose holder was killed is
 * removed after some seconds.
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`
  await mkdir(dirname(lock), { recursive: true, mode: 0o700 })
  while (!(await createLock(lock))) {
    await removeAbandoned(lock)
    await sleep(LOCK_PAUSE_MS, undefined)
  }
  const renew = (): void => void utimes(lock, new Date(), new Date()).catch(() => {})
  const timer = setInterval(renew, LOCK_RENEW_MS).unref()
  try {
    return await work()
  } finally {
    clearInterval(timer)
    await rm(lock, { force: true })
  }
}

async function createLock(lock: string): Promise<boolean> {
  try {
    await (await open(lock, 'wx', 0o600)).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function removeAbandoned(lock: string): Promise<void> {
  const isAbandoned = async (file: string): Promise<boolean> =>
    Date.now() - (await stat(file)).mtimeMs > LOCK_ABANDONED_MS
  const aside = `${lock}.${randomUUID()}`
  try {
    if (!(await isAbandoned(lock))) return
    await rename(lock, aside)
    // Another process may have removed it first, and this is the lock that it has made.
    if (!(await isAbandoned(aside))) await link(aside, lock)
  } catch (error) {
    // Another process has removed it, or has made the next one.
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    await rm(aside, { force: true })
  }
}

const LOCK_PAUSE_MS = 20
const LOCK_RENEW_MS = 2_000
const LOCK_ABANDONED_MS = 10_000

// Stores of express-session 1.x: Redis, PostgreSQL, DynamoDB and others.

/** The part of a store of express-session that is used. `touch` is optional there. */
export interface ExpressSessionStore {
  get(id: string, callback: (error: unknown, session?: unknown) => void): void
  set(id: string, session: never, callback: (error?: unknown) => void): void
  touch?(id: string, session: never, callback: (error?: unknown) => void): void
  destroy(id: string, callback: (error?: unknown) => void): void
}

/**
 * Returns a store on one that was made for express-session 1.x, such as connect-redis, connect-pg-simple or connect-dynamodb. These take
 * the time to live from the session's cookie.
 *
 * Exported from `'pg-iam/sign-in'`.
 */
export function expressSessionStore(store: ExpressSessionStore): SessionStore {
  checkClient(store, 'store', ['get', 'set', 'destroy'], 'a store of express-session 1.x')
  return {
    async get(key) {
      const found = await called<unknown>((callback) => store.get(key, callback))
      const { sealed } = (found ?? {}) as { sealed?: unknown }
      return typeof sealed === 'string' ? sealed : undefined
    },
    set: (key, value, ttlSecs) =>
      called((callback) =>
        store.set(key, { cookie: cookieFor(ttlSecs), sealed: value } as never, callback),
      ),
    async touch(key, ttlSecs) {
      if (store.touch !== undefined) {
        // Some write the session that they are given, so it has to be complete.
        const value = await this.get(key)
        if (value === undefined) return
        await called((callback) =>
          store.touch!(key, { cookie: cookieFor(ttlSecs), sealed: value } as never, callback),
        )
        return
      }
      const value = await this.get(key)
      if (value !== undefined) await this.set(key, value, ttlSecs)
    },
    destroy: (key) => called((callback) => store.destroy(key, callback)),
  }
}

/** The properties of a session's cookie in express-session that stores read. */
function cookieFor(ttlSecs: number): object {
  const maxAge = ttlSecs * 1_000
  return { originalMaxAge: maxAge, maxAge, expires: new Date(Date.now() + maxAge) }
}

function called<T = void>(
  call: (callback: (error?: unknown, value?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error === undefined || error === null) resolve(value as T)
      else reject(error as Error)
    })
  })
}

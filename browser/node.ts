/** What the core uses of Node, for browsers. The build for browsers replaces Node's modules and globals with this one. */

// node:diagnostics_channel: nothing can subscribe in a browser. A login's `logger` gets the events.
export const channel = (_name: string): { hasSubscribers: boolean; publish(): void } => ({
  hasSubscribers: false,
  publish() {},
})

/**
 * node:async_hooks: a browser does not follow asynchronous calls, so that a transaction function which is called within another one is not
 * recognised, unless it is passed the transaction.
 */
export class AsyncLocalStorage<T> {
  getStore(): T | undefined {
    return undefined
  }

  run<R>(_store: T, work: () => R): R {
    return work()
  }
}

// node:util/types
export const isNativeError = (value: unknown): value is Error => value instanceof Error
export const isDate = (value: unknown): value is Date => value instanceof Date

// node:fs, for `sql.file()` of Postgres.js
export const readFile = (_path: string, _encoding: string, done: (error: Error) => void): void =>
  done(new Error('a browser has no files'))

export const process = {
  env: {} as Readonly<Record<string, string>>,
  pid: 0,
  nextTick: (work: (...args: unknown[]) => void, ...args: unknown[]): void =>
    queueMicrotask(() => work(...args)),
  getBuiltinModule(name: string): unknown {
    if (name === 'node:net') return { isIP }
    throw new Error(`${name} does not exist in a browser`)
  },
}

/** https://url.spec.whatwg.org/#host-parsing: URLs normalise IP addresses. */
function isIP(host: string): number {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(host))
    return host.split('.').every((part) => Number(part) <= 255) ? 4 : 0
  return host.includes(':') && URL.canParse(`http://[${host}]`) ? 6 : 0
}

interface Immediate {
  isCancelled: boolean
}

/** After what is waiting in the event loop. Browsers delay timers, in a hidden tab by a second. */
export function setImmediate(work: () => void): Immediate {
  const immediate = { isCancelled: false }
  const { port1, port2 } = new MessageChannel()
  port1.addEventListener('message', () => {
    port1.close()
    if (!immediate.isCancelled) work()
  })
  port1.start()
  port2.postMessage(undefined)
  return immediate
}

export function clearImmediate(immediate: Immediate | null | undefined): void {
  if (immediate) immediate.isCancelled = true
}

// Postgres.js (3.4) imports these. This module replaces the one that it has for Workers. It needs no sockets and no passwords here.
export const os = { userInfo: (): { username: string } => ({ username: '' }) }
export const fs: { readFile: typeof readFile } = { readFile }
export const net: { isIP: typeof isIP } = { isIP }
export const tls = {}
export const crypto = {}
export const performance: { now(): number } = globalThis.performance

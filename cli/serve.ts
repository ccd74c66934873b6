/** What `proxy` and `exec` have in common: the proxy's options from flags. */
import { randomBytes } from 'node:crypto'
import type { CommandContext } from './command-context.js'
import { ExitCode } from './failure.js'
import type { Io } from './output.js'
import type { ProxyOptions } from './proxy-server.js'

type FromFlags = Pick<ProxyOptions, 'maxConnections' | 'idleTimeoutMs' | 'isStrict' | 'logger'>

export function proxyOptionsOf({ flags, printer }: CommandContext): FromFlags {
  const idleTimeout = flags['idle-timeout'] as number | undefined
  return {
    maxConnections: (flags['max-connections'] as number | undefined) ?? 100,
    ...(idleTimeout === undefined ? {} : { idleTimeoutMs: Math.ceil(idleTimeout * 1_000) }),
    isStrict: flags['strict'] === true,
    logger: printer.logger,
  }
}

export function drainMsOf({ flags }: CommandContext): number {
  return ((flags['drain'] as number | undefined) ?? 10) * 1_000
}

/** 192 bits, in characters that need no encoding in a URL. */
export function randomPassword(): string {
  return randomBytes(24).toString('base64url')
}

export interface ClientUrl {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password?: string | undefined
  /** Whether the proxy has TLS. */
  readonly isEncrypted?: boolean
}

/** The URL for a tool. A folder is the host of a Unix socket. */
export function clientUrl({
  host,
  port,
  user,
  database,
  password,
  isEncrypted = false,
}: ClientUrl): string {
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  const login = `${encodeURIComponent(user)}${secret}@`
  const name = encodeURIComponent(database)
  if (host.startsWith('/'))
    return `postgres://${login}/${name}?host=${encodeURIComponent(host)}&port=${port}`
  const address = host.includes(':') ? `[${host}]` : host
  return `postgres://${login}${address}:${port}/${name}?sslmode=${isEncrypted ? 'require' : 'disable'}`
}

/** The signals that end a command which serves others. */
export interface StopSignals {
  /** Resolves with the exit code at the first signal: 0, or 130 after Ctrl-C. */
  readonly first: Promise<number>
  /** Resolves at the second one. */
  readonly second: Promise<void>
}

/** Must be called before anything tells that the command is ready: a signal may follow at once. */
export function stopSignals({ onSignal }: Pick<Io, 'onSignal'>): StopSignals {
  let stop: ((exitCode: number) => void) | undefined
  let stopNow: (() => void) | undefined
  let count = 0
  const first = new Promise<number>((resolve) => (stop = resolve))
  const second = new Promise<void>((resolve) => (stopNow = resolve))
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    onSignal(name, () => {
      if (++count > 1) stopNow?.()
      stop?.(name === 'SIGINT' ? ExitCode.interrupted : ExitCode.ok)
    })
  return { first, second }
}

/** The events that pg-iam publishes over `node:diagnostics_channel`. */
import { channel, type Channel } from 'node:diagnostics_channel'
import { type Check, invalidOption } from './options/check.js'

/** The login that an event belongs to. */
export interface LoginIdentity {
  readonly provider: string
  readonly host: string
  readonly user: string | undefined
}

export interface TokenMadeEvent extends LoginIdentity {
  readonly expiresAt: Date
  /** The time taken to create the token, credentials included, in milliseconds. */
  readonly elapsedMs: number
}

export interface TokenReusedEvent extends LoginIdentity {
  readonly expiresAt: Date
}

export interface TokenFailedEvent extends LoginIdentity {
  readonly error: unknown
}

export interface ConnectionOpenedEvent extends LoginIdentity {
  /** Number of the physical connection within this process, from 1. */
  readonly connectionId: number
  /** The total time for token, TCP, TLS and login, in milliseconds. */
  readonly elapsedMs: number
}

export interface ConnectionRetiredEvent extends LoginIdentity {
  readonly connectionId: number
  /** How long the connection was open, in milliseconds. */
  readonly ageMs: number
  /** The error that closed the connection; absent after a regular close. */
  readonly error?: Error
}

/**
 * The events by channel. Subscribe with `node:diagnostics_channel`:
 *
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 * subscribe('pg-iam:connection.opened', (event) => { ... })
 * ```
 *
 * No event contains a token. Without subscribers no event is created.
 */
export interface EventsByChannel {
  'pg-iam:token.made': TokenMadeEvent
  'pg-iam:token.reused': TokenReusedEvent
  'pg-iam:token.failed': TokenFailedEvent
  'pg-iam:connection.opened': ConnectionOpenedEvent
  'pg-iam:connection.retired': ConnectionRetiredEvent
}

/** Reports an event. `build` is only called if there is a subscriber or a logger. */
export type Report = <Name extends keyof EventsByChannel>(
  name: Name,
  build: () => EventsByChannel[Name],
) => void

/** Publishes an event on its channel. */
export const publish: Report = (name, build) => {
  const target = CHANNELS[name]
  if (target.hasSubscribers) target.publish(build())
}

/** Publishes events and logs them: failed tokens and lost connections as warnings, everything else at debug level. */
export function createReporter(logger: Logger | undefined): Report {
  if (logger === undefined) return publish
  return (name, build) => {
    publish(name, build)
    const event = build()
    const isFailure = 'error' in event && event.error !== undefined
    try {
      logger[isFailure ? 'warn' : 'debug'](LOG_MESSAGES[name], event)
    } catch {
      // A failing logger must not fail the connection.
    }
  }
}

const LOG_MESSAGES: Readonly<Record<keyof EventsByChannel, string>> = {
  'pg-iam:token.made': 'pg-iam: token made',
  'pg-iam:token.reused': 'pg-iam: token reused',
  'pg-iam:token.failed': 'pg-iam: token failed',
  'pg-iam:connection.opened': 'pg-iam: connection opened',
  'pg-iam:connection.retired': 'pg-iam: connection closed',
}

const CHANNELS: Readonly<Record<keyof EventsByChannel, Channel>> = {
  'pg-iam:token.made': channel('pg-iam:token.made'),
  'pg-iam:token.reused': channel('pg-iam:token.reused'),
  'pg-iam:token.failed': channel('pg-iam:token.failed'),
  'pg-iam:connection.opened': channel('pg-iam:connection.opened'),
  'pg-iam:connection.retired': channel('pg-iam:connection.retired'),
}

// The logger that a caller may pass to a login or to the gateway.

/** The logger interface. `console` and winston fit; pino needs a wrapper that swaps the arguments. */
export interface Logger {
  debug(message: string, details?: object): void
  info(message: string, details?: object): void
  warn(message: string, details?: object): void
  error(message: string, details?: object): void
}

/** Checks for the methods of a {@link Logger}. */
export const logger: Check<Logger> = (value, name) => {
  const methods = ['debug', 'info', 'warn', 'error'] as const
  const given = (value ?? {}) as Partial<Record<keyof Logger, unknown>>
  if (!methods.every((method) => typeof given[method] === 'function')) {
    throw invalidOption(name, 'an object with debug, info, warn and error functions', value)
  }
  return value as Logger
}

/** The default logger: logs nothing. */
export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** What pg-iam reports while it works, over `node:diagnostics_channel`. */
import { channel, type Channel } from 'node:diagnostics_channel'
import { type Check, invalidOption } from './options/check.js'

/** Which login an event belongs to. */
export interface LoginIdentity {
  readonly provider: string
  readonly host: string
  readonly user: string | undefined
}

export interface TokenMadeEvent extends LoginIdentity {
  readonly expiresAt: Date
  /** How long the token took, credentials included, in milliseconds. */
  readonly elapsedMs: number
}

export interface TokenReusedEvent extends LoginIdentity {
  readonly expiresAt: Date
}

export interface TokenFailedEvent extends LoginIdentity {
  readonly error: unknown
}

export interface ConnectionOpenedEvent extends LoginIdentity {
  /** Counts the physical connections of this process, from 1. */
  readonly connectionId: number
  /** Token, TCP, TLS and login together, in milliseconds. */
  readonly elapsedMs: number
}

export interface ConnectionRetiredEvent extends LoginIdentity {
  readonly connectionId: number
  /** How long it was open, in milliseconds. */
  readonly ageMs: number
  /** Why it ended, where it did not end in good order. */
  readonly error?: Error
}

/**
 * The channels, by event. Subscribe with `node:diagnostics_channel`:
 *
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 * subscribe('pg-iam:connection.opened', (event) => { ... })
 * ```
 *
 * No event ever holds a token. Nothing is built or sent while nobody subscribes.
 */
export interface EventsByChannel {
  'pg-iam:token.made': TokenMadeEvent
  'pg-iam:token.reused': TokenReusedEvent
  'pg-iam:token.failed': TokenFailedEvent
  'pg-iam:connection.opened': ConnectionOpenedEvent
  'pg-iam:connection.retired': ConnectionRetiredEvent
}

/** Tells whoever listens of an event, which is only built when somebody does. */
export type Report = <Name extends keyof EventsByChannel>(
  name: Name,
  build: () => EventsByChannel[Name],
) => void

/** Publishes an event on its channel. */
export const publish: Report = (name, build) => {
  const target = CHANNELS[name]
  if (target.hasSubscribers) target.publish(build())
}

/** Publishes events, and logs them: failed tokens and lost connections as warnings, all else for debugging. */
export function createReporter(logger: Logger | undefined): Report {
  if (logger === undefined) return publish
  return (name, build) => {
    publish(name, build)
    const event = build()
    const isTrouble = 'error' in event && event.error !== undefined
    try {
      logger[isTrouble ? 'warn' : 'debug'](LOG_MESSAGES[name], event)
    } catch {
      // A connection does not fail because nobody could write of it.
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

// The logger that a caller may hand to a login or to the gateway.

/** What pg-iam needs of a logger. `console`, pino (with arguments swapped by a wrapper) and winston fit. */
export interface Logger {
  debug(message: string, details?: object): void
  info(message: string, details?: object): void
  warn(message: string, details?: object): void
  error(message: string, details?: object): void
}

/** Checks that a given value can log. */
export const logger: Check<Logger> = (value, name) => {
  const methods = ['debug', 'info', 'warn', 'error'] as const
  const given = (value ?? {}) as Partial<Record<keyof Logger, unknown>>
  if (!methods.every((method) => typeof given[method] === 'function')) {
    throw invalidOption(name, 'an object with debug, info, warn and error functions', value)
  }
  return value as Logger
}

/** What is used where no logger is given. */
export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }

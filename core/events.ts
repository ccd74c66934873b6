/** What pg-iam reports while it works, over `node:diagnostics_channel`. */
import { channel, type Channel } from 'node:diagnostics_channel'
import type { Logger } from './logger.js'

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

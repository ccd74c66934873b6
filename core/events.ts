/** What pg-iam reports while it works, over `node:diagnostics_channel`. */
import { channel, type Channel } from 'node:diagnostics_channel'

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

/** Publishes an event, which is only built when somebody listens. */
export function publish<Name extends keyof EventsByChannel>(
  name: Name,
  build: () => EventsByChannel[Name],
): void {
  const target = CHANNELS[name]
  if (target.hasSubscribers) target.publish(build())
}

const CHANNELS: Readonly<Record<keyof EventsByChannel, Channel>> = {
  'pg-iam:token.made': channel('pg-iam:token.made'),
  'pg-iam:token.reused': channel('pg-iam:token.reused'),
  'pg-iam:token.failed': channel('pg-iam:token.failed'),
  'pg-iam:connection.opened': channel('pg-iam:connection.opened'),
  'pg-iam:connection.retired': channel('pg-iam:connection.retired'),
}

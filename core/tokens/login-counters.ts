/** What a login counts. */

/** Counts since the login was made. */
export interface LoginStats {
  /** Tokens that the issuer gave. */
  readonly tokensMade: number
  /** Connections that shared a token made for another one. */
  readonly tokensReused: number
  /** Token requests that failed. */
  readonly tokensFailed: number
  /** How often credentials were asked for. */
  readonly credentialCalls: number
  /** Conflicts after which a transaction function ran its transaction again. */
  readonly conflictsRetried: number
  /** Physical connections that logged in. */
  readonly connectionsOpened: number
  /** Those of them that are open now. One that is being closed does not count, though it takes a moment more to end. */
  readonly connectionsOpen: number
}

export type LoginCounters = { -readonly [Name in keyof LoginStats]: LoginStats[Name] }

export function createLoginCounters(): LoginCounters {
  return {
    tokensMade: 0,
    tokensReused: 0,
    tokensFailed: 0,
    credentialCalls: 0,
    conflictsRetried: 0,
    connectionsOpened: 0,
    connectionsOpen: 0,
  }
}

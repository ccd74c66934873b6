/** The behaviour of a hostile server towards one client, and the allowed results. Scenarios are sent to another process as JSON. */

/** The phase of a connection in which it happens. */
export type Phase =
  | 'startup' // instead of the password request
  | 'sasl' // instead of AuthenticationSASLContinue
  | 'sasl-final' // instead of AuthenticationSASLFinal
  | 'password' // instead of AuthenticationOk
  | 'greeting' // between AuthenticationOk and ReadyForQuery, or immediately after it
  | 'first' // in the reply to the first request, which some clients use for types or settings
  | 'simple' // in the reply to a simple query
  | 'describe' // in the reply to Parse and Describe, if a client awaits it before Bind
  | 'extended' // in the reply to an extended query
  | 'begin' // in the reply to BEGIN
  | 'inside' // in the reply to a query in a transaction
  | 'commit' // in the reply to COMMIT
  | 'idle' // without a request
  | 'copy' // in the reply to COPY TO STDOUT

export const LOGIN_PHASES: readonly Phase[] = [
  'startup',
  'sasl',
  'sasl-final',
  'password',
  'greeting',
]

/** The phases before AuthenticationOk. */
export const UNAUTHENTICATED: readonly Phase[] = ['startup', 'sasl', 'sasl-final', 'password']

export const PHASES: readonly Phase[] = [
  ...LOGIN_PHASES,
  ...(['first', 'simple', 'describe', 'extended'] as const),
  ...(['begin', 'inside', 'commit', 'idle', 'copy'] as const),
]

/** `cut`: valid messages, split at unusual places; `broken`: an invalid message; `special`: silence, closed connections, floods. */
export type Kind = 'cut' | 'broken' | 'special'

export const KINDS: readonly Kind[] = ['cut', 'broken', 'special']

export interface Scenario {
  readonly name: string
  readonly kind: Kind
  readonly phase: Phase
  /** The number of messages of the correct reply before `bytes`, at most all of them. */
  readonly after: number
  /** In base64. */
  readonly bytes: string
  /** Whether the rest of the correct reply follows. */
  readonly rest: boolean
  /** What follows: the server continues as after a reply, stops responding, or ends the connection in one of two ways. */
  readonly afterwards: 'stay' | 'mute' | 'end' | 'destroy'
  /** The positions where the stream is cut, relative to the start of `bytes`. The rest is sent after the first part was read. */
  readonly cuts: readonly number[]
  /** The same positions, as fractions of the whole stream. */
  readonly fractions: readonly number[]
  /** Sent repeatedly after all of it, in base64: as fast as the client reads it, or with a pause. */
  readonly repeat?: { readonly bytes: string; readonly pauseMs: number }
  /** Whether further connections reach a healthy server before the query has ended. */
  readonly connections: 'first' | 'all'
  readonly scram: boolean
  /** Direct TLS, at a server without ALPN. */
  readonly directWithoutAlpn: boolean
  /**
   * The allowed results of the query: `resolved`, `wrong` (with another value), `pending`, `rejected`, or a code that must be in the error's
   * chain.
   */
  readonly ends: readonly string[]
  /** Whether the next query must use another connection. */
  readonly mustLeave: boolean
  /** The time limit of a login, instead of the default. */
  readonly connectTimeoutMs?: number
  /** If set, the query is repeated for two seconds, with at most this number of logins. */
  readonly mostLogins?: number
  /** Whether the client keeps the connection open for a while, and cannot close it. */
  readonly mayLeaveOpen: boolean
  /** The maximum number of passwords that the server may receive. */
  readonly mostPasswords: number
}

export interface Timing {
  readonly connectTimeoutMs: number
  /** How long to wait for a query, in addition to the login's time limit. */
  readonly patienceMs: number
  /** The event loop counts as frozen if it is blocked for this time. */
  readonly freezeMs: number
}

/** How a query ended. */
export interface End {
  readonly end: 'resolved' | 'wrong' | 'rejected' | 'pending'
  /** The codes in the error's chain. */
  readonly codes: readonly string[]
  readonly message: string
}

export interface Observation {
  readonly query: End
  /** Whether the query had not ended even after its connection was closed. */
  readonly isStuck: boolean
  /** The next query, while the server is healthy. If it ran on the hostile connection and failed, the one after it. */
  readonly next: End
  /** Whether this is the query after the next. */
  readonly isNextButOne: boolean
  readonly crashes: readonly string[]
  readonly tookMs: number
  readonly logins: number
  readonly passwords: number
  readonly pouredBytes: number
  readonly grownMiB: number
  /** Whether the next query ran on the hostile connection. */
  readonly isReused: boolean
  /** The number of open connections when the client was closed. */
  readonly leftOpen: number
  readonly isCloseStuck: boolean
  /** Whether the server reached the phase of the scenario. */
  readonly isReached: boolean
}

/** How the process ended, instead of an observation. */
export type Lost = { readonly lost: 'frozen' | 'died'; readonly output: string }

export type Result = Observation | Lost

/** The problems, in words. */
export function faultsOf(scenario: Scenario, result: Result): string[] {
  if ('lost' in result) return [result.lost === 'frozen' ? 'frozen' : `died: ${result.output}`]
  const { query, next, crashes } = result
  const faults: string[] = crashes.map((crash) => `crashed: ${crash}`)
  // On a slow machine a login with a short time limit may not reach this phase.
  const isTooShort = scenario.connectTimeoutMs !== undefined && isEnd(query, 'ERR_CONNECT_TIMEOUT')
  if (!result.isReached && !isTooShort) faults.push('the server did not come to it')
  if (!scenario.ends.some((end) => isEnd(query, end)))
    faults.push(`the query ${inWords(query)}, must be ${scenario.ends.join(' or ')}`)
  if (result.isStuck) faults.push('the query did not end with its connection')
  if (next.end !== 'resolved') faults.push(`the next query ${inWords(next)}`)
  if (scenario.kind === 'cut' && result.isNextButOne)
    faults.push('the next query failed on the same connection')
  if (scenario.mustLeave && result.isReused) faults.push('the connection was used again')
  if (result.passwords > scenario.mostPasswords) faults.push(`${result.passwords} passwords`)
  if (result.logins > (scenario.mostLogins ?? Infinity)) faults.push(`${result.logins} logins`)
  if (result.leftOpen > 0 && !scenario.mayLeaveOpen)
    faults.push(`${result.leftOpen} connections left open`)
  if (result.isCloseStuck) faults.push('could not be closed')
  if (result.grownMiB > MOST_MIB) faults.push(`grew by ${result.grownMiB} MiB`)
  return faults
}

/** The memory that a client may use for input of a hostile server, including garbage, V8 and OpenSSL. */
const MOST_MIB = 96

function isEnd({ end, codes }: End, wanted: string): boolean {
  if (wanted === 'rejected' || wanted === 'pending' || wanted === 'resolved' || wanted === 'wrong')
    return end === wanted
  return end === 'rejected' && codes.includes(wanted)
}

function inWords({ end, codes, message }: End): string {
  return end === 'rejected' ? `rejected: ${codes.join(', ')} ${message}` : end
}

/** What a hostile server does to one client, and what may come of it. It goes to another process as JSON. */

/** Where in a connection it happens. */
export type Phase =
  | 'startup' // in the place of the request for a password
  | 'sasl' // in the place of AuthenticationSASLContinue
  | 'sasl-final' // in the place of AuthenticationSASLFinal
  | 'password' // in the place of AuthenticationOk
  | 'greeting' // between AuthenticationOk and ReadyForQuery, or right behind that
  | 'first' // in the reply to the first request, which with some clients is for types or settings
  | 'simple' // in the reply to a simple query
  | 'describe' // in the reply to Parse and Describe, where a client waits for that before it binds
  | 'extended' // in the reply to an extended query
  | 'begin' // in the reply to BEGIN
  | 'inside' // in the reply to a query in a transaction
  | 'commit' // in the reply to COMMIT
  | 'idle' // when nothing was asked
  | 'copy' // in the reply to COPY TO STDOUT

export const LOGIN_PHASES: readonly Phase[] = [
  'startup',
  'sasl',
  'sasl-final',
  'password',
  'greeting',
]

/** Before AuthenticationOk. */
export const UNAUTHENTICATED: readonly Phase[] = ['startup', 'sasl', 'sasl-final', 'password']

export const PHASES: readonly Phase[] = [
  ...LOGIN_PHASES,
  ...(['first', 'simple', 'describe', 'extended'] as const),
  ...(['begin', 'inside', 'commit', 'idle', 'copy'] as const),
]

/** `cut`: nothing is wrong but where the network cuts; `broken`: a message is; `special`: silence, endings, floods. */
export type Kind = 'cut' | 'broken' | 'special'

export const KINDS: readonly Kind[] = ['cut', 'broken', 'special']

export interface Scenario {
  readonly name: string
  readonly kind: Kind
  readonly phase: Phase
  /** How many messages of the right reply come before `bytes`; at most all of them. */
  readonly after: number
  /** In base64. */
  readonly bytes: string
  /** Whether the rest of the right reply comes behind them. */
  readonly rest: boolean
  /** What then: the server goes on as if it had answered, answers nothing any more, or ends the connection in two ways. */
  readonly afterwards: 'stay' | 'mute' | 'end' | 'destroy'
  /** Where the stream is cut, counted from where `bytes` begin. What is behind a cut is sent when the rest was read. */
  readonly cuts: readonly number[]
  /** The same, as fractions of the whole stream. */
  readonly fractions: readonly number[]
  /** Sent again and again behind all of it, in base64: as fast as it is taken, or with a pause. */
  readonly repeat?: { readonly bytes: string; readonly pauseMs: number }
  /** Whether further connections find a healthy server before the query has ended. */
  readonly connections: 'first' | 'all'
  readonly scram: boolean
  /** TLS from the first byte on, at a server that knows no ALPN. */
  readonly directWithoutAlpn: boolean
  /**
   * Which ends of the query are right: `resolved`, `wrong` (with another value), `pending`, `rejected`, or a code that must be in the
   * chain of the error.
   */
  readonly ends: readonly string[]
  /** Whether the next query must come on another connection. */
  readonly mustLeave: boolean
  /** For a login, in place of the usual one. */
  readonly connectTimeoutMs?: number
  /** The query is repeated for two seconds, in which there may be so many logins at the most. */
  readonly mostLogins?: number
  /** Whether the client itself leaves the connection open for a while, and has no way to close it. */
  readonly mayLeaveOpen: boolean
  /** Passwords that the server may get, at the most. */
  readonly mostPasswords: number
}

export interface Timing {
  readonly connectTimeoutMs: number
  /** For how long a query is waited for, on top of the login's own time. */
  readonly patienceMs: number
  /** An event loop that does not turn for so long is frozen. */
  readonly freezeMs: number
}

/** How a query ended. */
export interface End {
  readonly end: 'resolved' | 'wrong' | 'rejected' | 'pending'
  /** The codes in the chain of the error. */
  readonly codes: readonly string[]
  readonly message: string
}

export interface Observation {
  readonly query: End
  /** Whether the query still had not ended when its connection was gone, too. */
  readonly isStuck: boolean
  /** The next query, while the server is healthy; where that came on the hostile connection and failed, the one after it. */
  readonly next: End
  /** Whether that was the one after it. */
  readonly isNextButOne: boolean
  readonly crashes: readonly string[]
  readonly tookMs: number
  readonly logins: number
  readonly passwords: number
  readonly pouredBytes: number
  readonly grownMiB: number
  /** Whether the next query came on the hostile connection. */
  readonly isReused: boolean
  /** Connections that were open when the client was closed. */
  readonly leftOpen: number
  readonly isCloseStuck: boolean
  /** Whether the server has come to do what the scenario says. */
  readonly isReached: boolean
}

/** The process, in the place of an observation. */
export type Lost = { readonly lost: 'frozen' | 'died'; readonly output: string }

export type Result = Observation | Lost

/** What was not right, in words. */
export function faultsOf(scenario: Scenario, result: Result): string[] {
  if ('lost' in result) return [result.lost === 'frozen' ? 'frozen' : `died: ${result.output}`]
  const { query, next, crashes } = result
  const faults: string[] = crashes.map((crash) => `crashed: ${crash}`)
  // On a slow machine a login whose time is short may not come so far.
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

/** What a client may hold of what a hostile server sends it, garbage included, and what V8 and OpenSSL do beside it. */
const MOST_MIB = 96

function isEnd({ end, codes }: End, wanted: string): boolean {
  if (wanted === 'rejected' || wanted === 'pending' || wanted === 'resolved' || wanted === 'wrong')
    return end === wanted
  return end === 'rejected' && codes.includes(wanted)
}

function inWords({ end, codes, message }: End): string {
  return end === 'rejected' ? `rejected: ${codes.join(', ')} ${message}` : end
}

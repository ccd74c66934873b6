/** The options of faults and their validation. */
import {
  type Check,
  checkOptions,
  integerWithin,
  invalidOption,
  numberWithin,
  oneOf,
  text,
} from '../../core/options/check.js'

/** The stage at which a connection is cut, without an error message to the client. */
export type CutStage =
  /** Immediately after the TCP connection is accepted. */
  | 'before-tls'
  /** After the token is received, before it is verified. */
  | 'authentication'
  /** After a statement is received, before it runs. */
  | 'statement'
  /** After COMMIT is received, before it runs: the transaction is rolled back. */
  | 'before-commit'
  /** After COMMIT has taken effect, before the client gets the reply. */
  | 'after-commit'

export interface RejectOptions {
  /** The number of logins, from 1. Default 1. */
  times?: number
  /** Default `53300`, too many connections. */
  sqlState?: string
  /** Default: a text that says that the login was rejected by a fault. */
  message?: string
}

export interface TimesOptions {
  /** The number of times, from 1. Default 1. */
  times?: number
}

export interface CutOptions extends TimesOptions {
  at: CutStage
}

/** `OC000` is a data conflict, `OC001` a schema conflict. */
export type ConflictCode = 'OC000' | 'OC001'

export interface ConflictOptions {
  /** Where the conflict occurs: at COMMIT, like data conflicts, or at a statement, like some schema conflicts. Default `commit`. */
  at?: 'commit' | 'statement'
  /** The number of times, from 1. Default 1. Not allowed with `probability`. */
  times?: number
  /** The fraction of COMMITs or statements that conflict, from 0 to 1, until it is set again. */
  probability?: number
  /** Default `OC000`. */
  code?: ConflictCode
}

export interface ConflictSettings {
  at: 'commit' | 'statement'
  times: number
  probability?: number
  code: ConflictCode
}

export interface ConnectionLimits {
  /** The maximum number of open sessions. */
  max?: number
  /** The rate of new sessions per second. Aurora DSQL: 100. */
  perSecond?: number
  /** The burst of new sessions. Default: `perSecond`. Aurora DSQL: 1,000. */
  burst?: number
}

const times: Check<number> = integerWithin(1, 1_000_000, 'times')

const sqlState: Check<string> = (value, name) => {
  if (typeof value !== 'string' || !/^[0-9A-Z]{5}$/.test(value)) {
    throw invalidOption(name, 'a SQLSTATE, five upper-case letters and digits', value)
  }
  return value
}

const STAGES = [
  'before-tls',
  'authentication',
  'statement',
  'before-commit',
  'after-commit',
] as const

export function rejectOptions(given: unknown): Required<RejectOptions> {
  const options = checkOptions(given, { times, sqlState, message: text })
  return { times: 1, sqlState: '53300', message: 'the login was rejected by a fault', ...options }
}

export function timesOptions(given: unknown): Required<TimesOptions> {
  return { times: 1, ...checkOptions(given, { times }) }
}

export function cutOptions(given: unknown): Required<CutOptions> {
  const { at, times: howOften = 1 } = checkOptions(given, { at: oneOf(...STAGES), times })
  if (at === undefined)
    throw invalidOption('at', STAGES.map((stage) => `"${stage}"`).join(' or '), at)
  return { at, times: howOften }
}

export function conflictOptions(given: unknown): ConflictSettings {
  const options = checkOptions(given, {
    at: oneOf('commit', 'statement'),
    times,
    probability: numberWithin(0, 1),
    code: oneOf('OC000', 'OC001'),
  })
  if (options.times !== undefined && options.probability !== undefined) {
    throw invalidOption('times', 'omitted if "probability" is given', options.times)
  }
  return { at: 'commit', code: 'OC000', times: 1, ...options }
}

export function connectionLimits(given: unknown): ConnectionLimits {
  return checkOptions(given, {
    max: integerWithin(0, 1_000_000, 'sessions'),
    perSecond: numberWithin(0.001, 1_000_000, 'sessions a second'),
    burst: integerWithin(1, 1_000_000, 'sessions'),
  })
}

export function ageLimit(given: unknown): number | undefined {
  return given === undefined
    ? undefined
    : numberWithin(1, 2_147_483_647, 'milliseconds')(given, 'ageMs')
}

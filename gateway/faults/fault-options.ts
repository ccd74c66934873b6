/** The options of the faults, checked when they are given. */
import {
  type Check,
  checkOptions,
  integerWithin,
  invalidOption,
  numberWithin,
  oneOf,
  text,
} from '../../core/options/check.js'

/** Where a connection is cut, without a word to the client. */
export type CutStage =
  /** Right after the TCP connection is accepted. */
  | 'before-tls'
  /** When the token has come, before it is looked at. */
  | 'authentication'
  /** When a statement has come, before it runs. */
  | 'statement'
  /** When COMMIT has come, before it runs: the transaction is rolled back. */
  | 'before-commit'
  /** When COMMIT has taken effect, before the client hears of it. */
  | 'after-commit'

export interface RejectOptions {
  /** For how many logins, from 1. Default 1. */
  times?: number
  /** Default `53300`, too many connections. */
  sqlState?: string
  /** Default: a text that says that it was asked for. */
  message?: string
}

export interface TimesOptions {
  /** How often, from 1. Default 1. */
  times?: number
}

export interface CutOptions extends TimesOptions {
  at: CutStage
}

/** `OC000` is a conflict of data, `OC001` one of the schema. */
export type ConflictCode = 'OC000' | 'OC001'

export interface ConflictOptions {
  /** At COMMIT, as data conflicts are, or at a statement, as conflicts with a schema change can be. Default `commit`. */
  at?: 'commit' | 'statement'
  /** How often, from 1. Default 1, where no `probability` is given. */
  times?: number
  /** The part of all COMMITs or statements that meet a conflict, from 0 to 1, until it is set anew; instead of `times`. */
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
  /** Open sessions at the most. */
  max?: number
  /** New sessions a second. Aurora DSQL: 100. */
  perSecond?: number
  /** New sessions at once, after a quiet time. Default: `perSecond`. Aurora DSQL: 1,000. */
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
  return { times: 1, sqlState: '53300', message: 'the login was rejected on purpose', ...options }
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
    probability: numberWithin(0, 1, 'all occasions'),
    code: oneOf('OC000', 'OC001'),
  })
  if (options.times !== undefined && options.probability !== undefined) {
    throw invalidOption('times', 'left out beside "probability"', options.times)
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

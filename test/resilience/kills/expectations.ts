/** The expected result of each scenario. */
import type { ScenarioName } from './scenarios.js'

/** A summary of the error that the application receives. */
export type Told =
  | 'nothing'
  | 'that the connection is lost'
  | 'the error with which the server ended the connection'
  | 'that the outcome is unknown'
  | 'the error of its function'
  | 'that it met a conflict'

export interface Expectation {
  /** Any of these is correct: some clients report the loss before the function of the transaction has ended, others after. */
  readonly told: readonly Told[]
  readonly runs: number
  readonly notes: readonly number[]
}

/** Whether the error itself has the SQLSTATE, and not only one that it wraps. */
const SAID = ['the error with which the server ended the connection'] as const
export const LOST: readonly Told[] = ['that the connection is lost', ...SAID]
const UNKNOWN = ['that the outcome is unknown'] as const

export const EXPECTATIONS: Readonly<Record<ScenarioName, Expectation>> = {
  'killed while idle': { told: ['nothing'], runs: 0, notes: [] },
  'killed while idle, before the client could notice': { told: LOST, runs: 0, notes: [] },
  'killed in a statement': { told: LOST, runs: 0, notes: [] },
  'cut in a statement': { told: LOST, runs: 0, notes: [] },
  'cut in the first statement of a connection': { told: LOST, runs: 0, notes: [] },
  'a conflict in the first statement of a connection': {
    told: ['that it met a conflict', 'nothing'],
    runs: 0,
    notes: [],
  },
  'killed before BEGIN, before the client could notice': { told: LOST, runs: 0, notes: [] },
  'killed in a statement of a transaction': { told: LOST, runs: 1, notes: [] },
  'killed in a statement of a transaction that continues': { told: LOST, runs: 1, notes: [] },
  'killed between the statements': { told: SAID, runs: 1, notes: [] },
  'killed between the statements, while a query waits for the connection': {
    told: SAID,
    runs: 1,
    notes: [],
  },
  'killed between the statements, and its function continues regardless': {
    told: SAID,
    runs: 1,
    notes: [],
  },
  'killed between the statements, and its function returns': { told: SAID, runs: 1, notes: [] },
  'killed between BEGIN and the first statement': { told: SAID, runs: 1, notes: [] },
  'reset between the statements, and its function returns': { told: LOST, runs: 1, notes: [] },
  // Postgres.js has pipelined COMMIT after the statement by then, and so may TypeORM have.
  'killed while a statement that is not awaited is running': {
    told: [...LOST, ...UNKNOWN],
    runs: 1,
    notes: [],
  },
  'killed between the statements, and its function fails with another error': {
    told: [...SAID, 'the error of its function'],
    runs: 1,
    notes: [],
  },
  'killed in a savepoint': { told: LOST, runs: 1, notes: [] },
  'killed in a statement of a savepoint': { told: LOST, runs: 1, notes: [] },
  'killed in COMMIT': { told: UNKNOWN, runs: 1, notes: [] },
  'cut in COMMIT, before it took effect': { told: UNKNOWN, runs: 1, notes: [] },
  'cut in COMMIT, after it took effect': { told: UNKNOWN, runs: 1, notes: [1] },
  'cut in a COMMIT that its function sends': { told: UNKNOWN, runs: 1, notes: [1] },
  'killed in ROLLBACK': { told: [...LOST, 'the error of its function'], runs: 1, notes: [] },
  'a statement sent during COMMIT': { told: ['nothing'], runs: 1, notes: [1] },
  'a statement sent during ROLLBACK': {
    told: ['the error of its function'],
    runs: 1,
    notes: [],
  },
  'statements sent after the end': { told: ['nothing'], runs: 2, notes: [1, 4] },
}

/** Summarizes the error of the application's call. */
export function toldBy(error: readonly string[] | 'hangs' | undefined): string {
  if (error === undefined) return 'nothing'
  if (error === 'hangs') return 'nothing, for it hangs'
  if (error[0] === 'ERR_OUTCOME_UNKNOWN') return 'that the outcome is unknown'
  if (error.includes('OUT_OF_STOCK')) return 'the error of its function'
  if (error.includes('40001')) return 'that it met a conflict'
  if (error[0] === '57P01') return 'the error with which the server ended the connection'
  if (error.some((part) => LOSSES.test(part))) return 'that the connection is lost'
  return error.join(' | ')
}

/** In the words of PostgreSQL, Node, Postgres.js, Prisma and pg. */
const LOSSES =
  /^(57P01|ECONNRESET|CONNECTION_CLOSED|ConnectionClosed)$|Connection terminated unexpectedly$/

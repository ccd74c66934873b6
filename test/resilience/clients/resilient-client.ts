/** The interface of a client for the resilience tests and the soak: each way to open it, and its transactions, ours and its own. */
import type { Login, RetryOptions } from '../../../core/index.js'

export interface ResilientClient {
  /** The client's name, as known to users. */
  readonly name: string
  /** Each way to open it: with all options, or with a hook in the user's own options. The first is the recommended one. */
  readonly entries: readonly ClientEntry[]
}

export interface ClientEntry {
  /** The adapter's function. */
  readonly name: string
  /** Opens the client. No connection is opened before one is needed. */
  open(login: Login, settings: OpenSettings): OpenClient
  /** Whether no query fails right after a connection past its maximum age was released. */
  readonly takesAgedBack: boolean
  /** The behaviour of the client's own managed transaction when its connection is lost. */
  readonly own: OwnTransactions
  /** Whether the pool ends an idle connection at its maximum age, instead of at its idle timeout and when it would hand it out. */
  readonly retiresIdle: boolean
  /** Whether its pool frees the slot of a lost connection while the transaction on it still runs. */
  readonly reopensEarly: boolean
}

/**
 * - `none`: the client has no such function, or it ends the process, as documented;
 * - `survives`: nothing crashes, leaks or runs outside the transaction, but the error may not be the first one;
 * - `survives, but for late statements`: the same, but a statement sent during COMMIT runs after it;
 * - `protected`: as our transaction function, except for the name of the error of COMMIT.
 */
export type OwnTransactions =
  'none' | 'survives' | 'survives, but for late statements' | 'protected'

export interface OpenSettings {
  readonly poolSize: number
}

/** Statements with a client's own API, on its pool or within a transaction. */
export interface Statements {
  /** Runs plain SQL. */
  run(text: string): Promise<Record<string, unknown>[]>
  /** Inserts into the table `note (id int primary key)`, with a parameter. */
  insert(id: number): Promise<void>
}

export interface TransactionStatements extends Statements {
  /** The client's own transaction object. */
  readonly own: unknown
  /** Runs `work` in a savepoint, with the client's own API if it has one. */
  nested?<T>(work: (statements: Statements) => Promise<T>): Promise<T>
}

export type Work<T> = (statements: TransactionStatements) => Promise<T>

export type Isolation = 'repeatable read' | 'serializable'

export interface TransactionSettings extends RetryOptions {
  isolation?: Isolation
}

export interface OpenClient extends Statements {
  /** Our transaction function. */
  transaction<T>(work: Work<T>, settings?: TransactionSettings): Promise<T>
  /** The client's own managed transaction, if it has one. */
  ownTransaction?<T>(work: Work<T>): Promise<T>
  /** Our transaction function, called with an object of an open transaction of the client. */
  transactionWithin?(own: unknown, work: () => Promise<void>): Promise<void>
  /** Checks a connection out of the pool, with the client's own API. */
  hold(): Promise<HeldConnection>
  close(): Promise<void>
}

/** A connection that the application holds until it releases it. */
export interface HeldConnection {
  run(text: string): Promise<Record<string, unknown>[]>
  release(): Promise<void>
}

/** What the tests and the soak need of a client: each way to open it with us, and its transactions, ours and its own. */
import type { Login, RetryOptions } from '../../../core/index.js'

export interface ResilientClient {
  /** The client's name, as users know it. */
  readonly name: string
  /** Each way to open it: whole options, or a hook within options of one's own. The first is the one to recommend. */
  readonly entries: readonly ClientEntry[]
}

export interface ClientEntry {
  /** The adapter's function. */
  readonly name: string
  /** Opens the client. No connection is made before one is needed. */
  open(login: Login, settings: OpenSettings): OpenClient
  /** Whether no query fails right after a connection was given back that is past its age. */
  readonly takesAgedBack: boolean
  /** What becomes of the client's own managed transaction when its connection dies. */
  readonly own: OwnTransactions
  /** Whether the pool ends an idle connection at its age; or else at its own idle timeout, and when it would hand it out. */
  readonly retiresIdle: boolean
  /** Whether its pool gives the place of a dead connection away while the transaction on it still runs. */
  readonly reopensEarly: boolean
}

/**
 * - `none`: the client has no such thing, or it ends the process, as documented;
 * - `survives`: nothing crashes, leaks or runs outside of it, but the error may not be the first one;
 * - `survives, but for late statements`: the same, but one that comes while COMMIT is under way runs behind it;
 * - `protected`: as our transaction function, but for the name of the error of COMMIT.
 */
export type OwnTransactions =
  'none' | 'survives' | 'survives, but for late statements' | 'protected'

export interface OpenSettings {
  readonly poolSize: number
}

/** Statements through a client's own API, on its pool or within a transaction. */
export interface Statements {
  /** Runs plain SQL. */
  run(text: string): Promise<Record<string, unknown>[]>
  /** Inserts into the table `note (id int primary key)`, with a parameter. */
  insert(id: number): Promise<void>
}

export interface TransactionStatements extends Statements {
  /** The client's own transaction object. */
  readonly own: unknown
  /** Runs `work` in a savepoint, by the client's own means, where it has some. */
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
  /** The client's own managed transaction, where it has one. */
  ownTransaction?<T>(work: Work<T>): Promise<T>
  /** Our transaction function, called with something inside of an open transaction of the client. */
  transactionWithin?(own: unknown, work: () => Promise<void>): Promise<void>
  /** Takes a connection out of the pool, by the client's own means. */
  hold(): Promise<HeldConnection>
  close(): Promise<void>
}

/** A connection that the application has until it gives it back. */
export interface HeldConnection {
  run(text: string): Promise<Record<string, unknown>[]>
  release(): Promise<void>
}

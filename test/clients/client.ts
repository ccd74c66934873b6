/**
 * A client as all tests, the soak, the benchmarks and the demo open it: each way to open it with a login, its statements, and its
 * transactions, ours and its own.
 */
import type { Login, PgIamErrorCode, RetryOptions } from '../../core/index.js'

export interface Client {
  /** The client's name, as known to users. */
  readonly name: string
  /** Each way to open it: with all options, or with a hook in the user's own options. The first is the recommended one. */
  readonly entries: readonly ClientEntry[]
}

/** One way to open a client. */
export interface ClientEntry<Options extends object = object> {
  /** The adapter's function. */
  readonly name: string
  /** The client's own options for a pool of that size, with full logging. */
  options(settings: OpenSettings): Options
  /** Opens the client with the adapter's result for `options`. No connection is opened before one is needed. */
  open(login: Login, options: Options): OpenClient
  /** When the adapter rejects conflicting options. A hook sees the options only when a connection is opened. */
  readonly refusesAt: 'construction' | 'connection'
  readonly refusals: readonly Refusal[]
  /** Whether the client opens its connections itself, with only the password from the login. */
  readonly connectsItself?: boolean
  /** Whether its connections are WebSockets. */
  readonly isWebSocket?: boolean
  /** Whether no query fails right after a connection past its maximum age was released. */
  readonly takesAgedBack: boolean
  /** The behaviour of the client's own managed transaction when its connection is lost. */
  readonly own: OwnTransactions
  /** Whether the pool ends an idle connection at its maximum age, instead of at its idle timeout and when it would hand it out. */
  readonly retiresIdle: boolean
  /** Whether its pool frees the slot of a lost connection while the transaction on it still runs. */
  readonly reopensEarly: boolean
}

export interface OpenSettings {
  readonly poolSize: number
  /** Receives every line that the client logs. */
  readonly log: (line: string) => void
}

/** Opens a client with its default options, and ignores what it logs. */
export function openClient(entry: ClientEntry, login: Login, poolSize: number): OpenClient {
  return entry.open(login, entry.options({ poolSize, log: () => {} }))
}

/** Options that must be refused with a login. */
export interface Refusal {
  readonly what: string
  readonly options: object
  readonly code: PgIamErrorCode
}

/**
 * - `none`: the client has no such function, or it ends the process, as documented;
 * - `survives`: nothing crashes, leaks or runs outside the transaction, but the error may not be the first one;
 * - `survives, but for late statements`: the same, but a statement sent during COMMIT runs after it;
 * - `protected`: as our transaction function, except for the name of the error of COMMIT.
 */
export type OwnTransactions =
  'none' | 'survives' | 'survives, but for late statements' | 'protected'

/** Statements with a client's own API, on its pool or within a transaction. */
export interface Statements {
  /** Runs plain SQL. */
  run(text: string): Promise<Record<string, unknown>[]>
  /** Inserts into the table `note (id int primary key, body text)`, with parameters. */
  addNote(id: number, body?: string): Promise<void>
  /** Returns the body of a note, selected with a parameter. */
  findNote(id: number): Promise<string | undefined>
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

/** An open client. */
export interface OpenClient extends Statements {
  /** Our transaction function. */
  transaction<T>(work: Work<T>, settings?: TransactionSettings): Promise<T>
  /** The client's own managed transaction; for pg, which has none, BEGIN and COMMIT on a connection of the pool. */
  ownTransaction<T>(work: Work<T>): Promise<T>
  /** Our transaction function, called with an object of an open transaction of the client. */
  transactionWithin?(own: unknown, work: () => Promise<void>): Promise<void>
  /** Checks a connection out of the pool, with the client's own API. */
  hold(): Promise<HeldConnection>
  close(): Promise<void>
  /** Objects that an application can access and print or log. */
  readonly objects: readonly unknown[]
  /** The number of idle connections in its pool, for logins that do not count connections. */
  readonly connections?: () => number
}

/** A connection that the application holds until it releases it. */
export interface HeldConnection {
  run(text: string): Promise<Record<string, unknown>[]>
  release(): Promise<void>
}

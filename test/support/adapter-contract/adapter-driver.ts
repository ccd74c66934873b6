/** The interface of clients for the contract: how an adapter opens them, and some operations in the client's own API. */
import type { Login, PgIamErrorCode } from '../../../core/index.js'

/** One client, with all variants of its adapter. */
export interface AdapterDriver {
  /** The client's name, as users know it. */
  readonly client: string
  readonly variants: readonly AdapterVariant[]
}

/** One way to use an adapter: complete options, or a hook within an existing configuration. */
export interface AdapterVariant<Options extends object = object> {
  /** The adapter's function. */
  readonly name: string
  /** The client's own options for a pool of that size, with full logging. */
  options(settings: DriverSettings): Options
  /** Opens the client with the adapter's result for `options`. It opens no connection until one is needed. */
  open(login: Login, options: Options): Database
  /** When the adapter rejects conflicting options. A hook sees the options only when a connection is opened. */
  readonly refusesAt: 'construction' | 'connection'
  readonly refusals: readonly Refusal[]
}

export interface DriverSettings {
  readonly poolSize: number
  /** Receives every line that the client logs. */
  readonly log: (line: string) => void
}

/** Options that must be refused with a login. */
export interface Refusal {
  readonly what: string
  readonly options: object
  readonly code: PgIamErrorCode
}

/** Statements in a client's own API, on its pool or in a transaction. */
export interface Statements {
  /** Runs plain SQL. */
  run(text: string): Promise<Record<string, unknown>[]>
  /** Inserts into the table `note (id int primary key, body text)`, with parameters. */
  addNote(id: number, body: string): Promise<void>
  /** Returns the body of a note, selected with a parameter. */
  findNote(id: number): Promise<string | undefined>
}

/** An open client. */
export interface Database extends Statements {
  /** The client's own managed transaction: commits if `work` resolves, rolls back if it rejects, and rejects with its error. */
  transaction(work: (statements: Statements) => Promise<void>): Promise<void>
  close(): Promise<void>
  /** Objects that an application can access and print or log. */
  readonly objects: readonly unknown[]
  /** The number of idle connections in its pool, for logins that do not count connections. */
  readonly connections?: () => number
}

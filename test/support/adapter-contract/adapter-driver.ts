/** What the contract needs of a client: how an adapter opens it, and a few verbs in the client's own API. */
import type { Login, PgIamErrorCode } from '../../../core/index.js'

/** One client, with every way in which its adapter can be used. */
export interface AdapterDriver {
  /** The client's name, as users know it. */
  readonly client: string
  readonly variants: readonly AdapterVariant[]
}

/** One way to use an adapter: whole options, or a hook within options of one's own. */
export interface AdapterVariant<Options extends object = object> {
  /** The adapter's function. */
  readonly name: string
  /** The client's own options for a pool of that size, with all its logging turned on. */
  options(settings: DriverSettings): Options
  /** Opens the client with what the adapter makes of `options`. No connection is made before one is needed. */
  open(login: Login, options: Options): Database
  /** When the adapter can see that an option contradicts the login. A hook gets to see options at a connection only. */
  readonly refusesAt: 'construction' | 'connection'
  readonly refusals: readonly Refusal[]
}

export interface DriverSettings {
  readonly poolSize: number
  /** Gets every line that the client logs. */
  readonly log: (line: string) => void
}

/** Options that must be refused with a login. */
export interface Refusal {
  readonly what: string
  readonly options: object
  readonly code: PgIamErrorCode
}

/** Statements through a client's own API, on its pool or within a transaction. */
export interface Statements {
  /** Runs plain SQL. */
  run(text: string): Promise<Record<string, unknown>[]>
  /** Inserts into the table `note (id int primary key, body text)`, with parameters. */
  addNote(id: number, body: string): Promise<void>
  /** The body of a note, looked for with a parameter. */
  findNote(id: number): Promise<string | undefined>
}

/** An open client. */
export interface Database extends Statements {
  /** The client's own managed transaction: commits when `work` resolves, rolls back when it rejects, and rejects with its error. */
  transaction(work: (statements: Statements) => Promise<void>): Promise<void>
  close(): Promise<void>
  /** What an application can get hold of and print, or hand to a logger. */
  readonly objects: readonly unknown[]
  /** Connections of its pool that are ready and at rest, where the login does not count connections. */
  readonly connections?: () => number
}

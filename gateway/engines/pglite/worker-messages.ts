/** What the engine and its worker say to each other, and the memory that they share for it. */
import type { BackendStatus } from './backend.js'
import type { Refusal } from './sql-reply.js'

/** What the worker is started with. */
export interface WorkerStart {
  /** The worker's own file, from which it finds PGlite: it has no other way that works in both module formats. */
  readonly workerFile: string
  readonly database: string
  readonly task: InitialiseTask | ServeTask
}

/** Makes a fresh data directory, answers with a `dump` of it and ends. */
export interface InitialiseTask {
  readonly type: 'initialise'
}

export interface ServeTask {
  readonly type: 'serve'
  /** The data to begin with, which is then kept in memory. */
  readonly dump: Uint8Array | undefined
  /** Or where the data is. */
  readonly dataDirectory: string | undefined
  /** The login roles that must exist. */
  readonly roles: readonly string[]
  /** An `Int32Array` of `CONTROL_WORDS`. */
  readonly control: SharedArrayBuffer
}

/** The words of the shared control memory. */
export const Control = {
  /** Changes whenever the engine has posted a message: the worker sleeps on it, outside of any event loop. */
  signal: 0,
  /** How many bytes of results the worker has posted that no client has taken yet. */
  outstanding: 1,
  /** The job that is to be cancelled, so that a cancel can never hit the job after it. */
  cancelledJob: 2,
} as const
export const CONTROL_WORDS = 3

/** How many bytes of results may be on their way before the running statement has to wait for its client. */
export const OUTPUT_WINDOW_BYTES = 1_048_576

/** Every request but `stop` is a job. They are done in their order; one `done` may stand for several of them. */
export type WorkerRequest =
  | {
      readonly type: 'open'
      readonly job: number
      readonly session: number
      readonly role: string
      readonly parameters: readonly (readonly [name: string, value: string])[]
    }
  /** Runs whole frontend messages. While a COPY waits for data, those of the next `run` are that data. */
  | {
      readonly type: 'run'
      readonly job: number
      readonly session: number
      readonly messages: Uint8Array
    }
  /** Runs SQL of the engine's own in the state of a session; the client does not hear of it. */
  | { readonly type: 'sql'; readonly job: number; readonly session: number; readonly sql: string }
  /** Ends what the session has left open and forgets it. */
  | {
      readonly type: 'end'
      readonly job: number
      readonly session: number
      readonly statements: readonly string[]
    }
  | { readonly type: 'stop' }

export type WorkerAnswer =
  | { readonly type: 'dump'; readonly bytes: Uint8Array }
  | ReadyAnswer
  /** Results for the client of the running job. */
  | { readonly type: 'output'; readonly bytes: Uint8Array }
  /** The running statement has a limit of its own, in milliseconds. */
  | { readonly type: 'limit'; readonly milliseconds: number }
  /** The running job goes on only when its client sends more of a COPY, or takes results. */
  | { readonly type: 'waiting'; readonly for: 'input' | 'output' }
  /** There is no more room for files: the running statement is cancelled. */
  | { readonly type: 'full' }
  /** This job and all before it are done. */
  | { readonly type: 'done'; readonly job: number; readonly result: JobResult }
  /** The engine cannot go on. */
  | { readonly type: 'died'; readonly reason: string }

/** The addresses are those of PostgreSQL's own flags, which make the running statement stop by itself. */
export interface ReadyAnswer {
  readonly type: 'ready'
  readonly memory: SharedArrayBuffer
  readonly interruptPending: number
  readonly queryCancelPending: number
}

export interface JobResult {
  /** How the engine stands after the job: `I` when the next session may have its turn. */
  readonly status: BackendStatus
  /** `sql`: the whole reply. */
  readonly reply?: Uint8Array
  /** `open`: the settings that a server reports to its clients. */
  readonly parameters?: readonly (readonly [name: string, value: string])[]
  /** Why the session cannot be opened, or cannot go on. */
  readonly refusal?: Refusal
}

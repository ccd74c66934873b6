/** The interface of clients in the hostile tests, opened with pg-iam and as their documentation describes. */
import type { Login } from '../../../core/index.js'

export interface HostileClient {
  readonly name: string
  /** Whether it runs a type query before the first query, whose result no code awaits. */
  readonly asksForTypes: boolean
  /** Whether it describes a statement before it binds parameters. */
  readonly describesFirst: boolean
  /** Whether a pool stays open after its first query failed, without a way to close it. */
  readonly leavesFailedStart: boolean
  openOurs(login: Login): OpenHostileClient
  openBare(login: BareLogin, connectTimeoutMs: number): OpenHostileClient
}

/** A static password, and TLS that the driver verifies itself. */
export interface BareLogin {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly ssl: {
    readonly ca: string
    readonly servername: string
    readonly rejectUnauthorized: true
  }
  /** Whether to use direct TLS. */
  readonly isDirect: boolean
}

/** The actions, on a pool of one connection. Each resolves with the value in the place of `word`. */
export interface OpenHostileClient {
  simple(word: string): Promise<unknown>
  /** A query with a parameter. */
  extended(word: string): Promise<unknown>
  /** A transaction: with pg-iam by its transaction function, otherwise by the client's own. */
  transaction(word: string): Promise<unknown>
  copy(): Promise<unknown>
  close(): Promise<unknown>
}

export const simpleText = (word: string): string => `SELECT '${word}' AS v`
export const EXTENDED_TEXT = 'SELECT $1::text AS v /* extended */'
export const COPY_TEXT = 'COPY note TO STDOUT'

/** The value of the first row. */
export function valueOf(rows: readonly unknown[] | undefined): unknown {
  return (rows?.[0] as { v?: unknown } | undefined)?.v
}

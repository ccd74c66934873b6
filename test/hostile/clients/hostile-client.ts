/** What the hostile servers' tests need of a client, opened with pg-iam and as its own documentation has it. */
import type { Login } from '../../../core/index.js'

export interface HostileClient {
  readonly name: string
  /** Whether it asks for types before the first query, of which nobody hears. */
  readonly asksForTypes: boolean
  /** Whether it has a statement described before it binds parameters to it. */
  readonly describesFirst: boolean
  /** Whether a pool whose first query has failed stays open, with nothing to close it by. */
  readonly leavesFailedStart: boolean
  openOurs(login: Login): OpenHostileClient
  openBare(login: BareLogin, connectTimeoutMs: number): OpenHostileClient
}

/** A static password, and TLS that is verified by the driver itself. */
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
  /** Whether TLS begins with the first byte. */
  readonly isDirect: boolean
}

/** On a pool of one connection. Each operation resolves with what came in the place of `word`. */
export interface OpenHostileClient {
  simple(word: string): Promise<unknown>
  /** With a parameter. */
  extended(word: string): Promise<unknown>
  /** By our transaction function with pg-iam, and by the client's own without. */
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

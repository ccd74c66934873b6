/** The check of what a client proves with its login: what is asked, and what comes out. */
import type { ServerError } from '../wire/server-error.js'
import { fatal, refusal, type Refusal, type RefusalReason } from './refusal.js'

/** What a client says of its login before it proves anything. */
export interface LoginRequest {
  readonly role: string
  readonly database: string
  /** The name that the client asked for in the TLS handshake. */
  readonly servername: string | undefined
  /** The cluster of Aurora DSQL that the client named in its startup packet. */
  readonly clusterId?: string | undefined
}

export interface LoginAttempt extends LoginRequest {
  /** What came as the password, which may be empty. Never longer than 64 kB. */
  readonly token: string
}

/** Checks the tokens of one endpoint. */
export interface Verifier {
  /**
   * Says whether the token lets the client in as this role. Whether role and database exist is not its business. It may take
   * its time: the login has a deadline. What it throws, or rejects with, is the refusal `verifier-failed`.
   */
  verify(attempt: LoginAttempt): Verdict | Promise<Verdict>
}

export type Verdict = { readonly accepted: AcceptedLogin } | { readonly refused: Refusal }

export interface AcceptedLogin {
  /** Who it was, to be printed: an access key ID, an e-mail address. Nothing that could be used to log in. */
  readonly identity: string
  /** `undefined` where the login was without a token, as with a password. */
  readonly token: AcceptedToken | undefined
}

export interface AcceptedToken {
  /** Tells tokens apart, such as by their signature. It is hashed before it is kept. */
  readonly fingerprint: Buffer | string
  /** When the token ends, in epoch milliseconds. */
  readonly expiresAt: number
}

/** The verdict on a login that is let in. */
export function accepted(identity: string, token?: AcceptedToken): Verdict {
  return { accepted: { identity, token } }
}

/**
 * The verdict on a login that is not.
 *
 * @param explanation one sentence for the gateway's log, without a token, a secret or a signature
 * @param told what the client sees
 */
export function denied(reason: RefusalReason, explanation: string, told: ServerError): Denied {
  return { refused: refusal(reason, explanation, told) }
}

export type Denied = Extract<Verdict, { refused: Refusal }>

/** The verdict where the check itself failed. The error's message is left out: it may quote what it could not read. */
export function checkFailed(error: unknown): Denied {
  const { code, name, cause } = Object(error) as ErrorParts
  const kind = [code, cause?.code, name].find((part) => typeof part === 'string') ?? 'no error'
  const told = fatal('58000', 'the login could not be checked')
  return denied('verifier-failed', `the login could not be checked: ${kind}`, told)
}

interface ErrorParts {
  readonly code?: unknown
  readonly name?: unknown
  readonly cause?: { readonly code?: unknown }
}

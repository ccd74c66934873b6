/** The check of what a client proves with its login: what is asked, and what comes out. */
import type { ServerError } from '../../wire/error-response.js'
import { authenticationCleartextPassword } from '../../wire/messages.js'
import { fatal, refusal, type Refusal, type RefusalReason } from './refusal.js'

/** What a client says of its login before it proves anything. */
interface LoginRequest {
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

// How the clients of one endpoint prove who they are.

/** The conversation in which a client proves who it is, up to the verdict. `AuthenticationOk` is not part of it. */
export interface LoginMethod {
  authenticate(request: LoginRequest, client: LoginClient): Verdict | Promise<Verdict>
}

/** A client in the middle of its login. */
export interface LoginClient {
  /** Sends a request of the server, and resolves with the body of the client's answer, a message of type `p`. */
  ask(request: Buffer): Promise<Buffer>
  /** Sends something that the client does not answer. */
  tell(message: Buffer): void
  /** What SCRAM can be bound to: `tls-server-end-point` of RFC 5929, the hash of the server's certificate. */
  channelBinding(): Buffer
  /** The client's certificate, where its TLS showed one. */
  certificate(): ClientCertificate | undefined
}

export interface ClientCertificate {
  /** The first common name of its subject. */
  readonly commonName: string | undefined
  /** OpenSSL's name of what is wrong with it, such as `CERT_HAS_EXPIRED`, or `undefined` for one to be trusted. */
  readonly fault: string | undefined
}

// Logins with a token in place of the password, which clients send as it is: so do all clouds.

/** The method that asks for a clear-text password and hands it to a verifier. */
export function cleartextToken(verifier: Verifier): LoginMethod {
  return {
    async authenticate(request, client) {
      const password = passwordIn(await client.ask(authenticationCleartextPassword()))
      if (typeof password !== 'string') return password
      try {
        return await verifier.verify({ ...request, token: password })
      } catch (error) {
        return checkFailed(error)
      }
    },
  }
}

// The password in the message that carries it.

/** Returns the text, or the refusal of a message that is not one text with one NUL at its end. */
export function passwordIn(body: Buffer): string | Denied {
  const length = body.length - 1
  if (body.indexOf(0) !== length || length < 0) return malformedAnswer()
  return body.toString('utf8', 0, length)
}

/** The refusal of an answer that is none. */
export function malformedAnswer(explanation: string = 'invalid password packet size'): Denied {
  return denied('protocol-violation', explanation, fatal('08P01', explanation))
}

// Whether there are the role and the database that a login asks for.

/** Says as PostgreSQL does, once the client has shown who it is, that one of them is missing. */
export function missingTarget(
  { role, database }: LoginRequest,
  existing: { readonly roles: readonly string[]; readonly database: string },
): Denied | undefined {
  if (!existing.roles.includes(role))
    return denied(
      'role-unknown',
      'there is no such role',
      fatal('28000', `role "${role}" does not exist`),
    )
  if (database !== existing.database)
    return denied(
      'database-unknown',
      'there is no such database',
      fatal('3D000', `database "${database}" does not exist`),
    )
  return undefined
}

/** The interfaces of login methods and token verifiers, and their results. */
import type { PeerCertificate } from 'node:tls'
import type { ServerError } from '../../wire/error-response.js'
import { authenticationCleartextPassword } from '../../wire/messages.js'
import { fatal, refusal, type Refusal, type RefusalReason } from './refusal.js'

/** What a client requests before it is authenticated. */
export interface LoginRequest {
  readonly role: string
  readonly database: string
  /** The server name (SNI) of the TLS handshake. */
  readonly servername: string | undefined
  /** The other parameters of the startup packet. */
  readonly parameters?: ReadonlyMap<string, string>
  /** The Aurora DSQL cluster ID of the startup packet. */
  readonly clusterId?: string | undefined
}

export interface LoginAttempt extends LoginRequest {
  /** The password of the client. It may be empty, and has at most 64 kB. */
  readonly token: string
}

/** Verifies the tokens of one endpoint. */
export interface Verifier {
  /**
   * Decides whether the token allows the login as this role. The caller checks whether role and database exist, and enforces the
   * login timeout. If this throws or rejects, the login is refused with `verifier-failed`.
   */
  verify(attempt: LoginAttempt): Verdict | Promise<Verdict>
}

export type Verdict = { readonly accepted: AcceptedLogin } | { readonly refused: Refusal }

export interface AcceptedLogin {
  /** The authenticated identity for the log, such as an access key ID or an e-mail address. It must not be a secret. */
  readonly identity: string
  /** `undefined` for logins without a token, such as password logins. */
  readonly token: AcceptedToken | undefined
}

export interface AcceptedToken {
  /** Distinguishes tokens, for example by their signature. It is hashed before it is stored. */
  readonly fingerprint: Buffer | string
  /** When the token expires, in epoch milliseconds. */
  readonly expiresAt: number
}

/** The verdict for an accepted login. */
export function accepted(identity: string, token?: AcceptedToken): Verdict {
  return { accepted: { identity, token } }
}

/**
 * The verdict for a refused login.
 *
 * @param explanation one sentence for the gateway's log, without a token, a secret or a signature
 * @param told the error for the client
 */
export function denied(reason: RefusalReason, explanation: string, told: ServerError): Denied {
  return { refused: refusal(reason, explanation, told) }
}

export type Denied = Extract<Verdict, { refused: Refusal }>

/** The verdict if the verification failed. It omits the error message, which may quote data that could not be parsed. */
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

// How the clients of one endpoint authenticate.

/** The authentication exchange with a client, up to the verdict. The caller sends `AuthenticationOk`. */
export interface LoginMethod {
  authenticate(request: LoginRequest, client: LoginClient): Verdict | Promise<Verdict>
}

/** A client during its login. */
export interface LoginClient {
  /** Sends an authentication request and resolves with the body of the client's response, a message of type `p`. */
  ask(request: Buffer): Promise<Buffer>
  /** Sends a message without a response. */
  tell(message: Buffer): void
  /** The channel binding data for SCRAM, `tls-server-end-point` of RFC 5929. `undefined` without TLS. */
  channelBinding(): Buffer | undefined
  /** The client certificate, if the client sent one. */
  certificate(): ClientCertificate | undefined
}

export interface ClientCertificate {
  readonly certificate: PeerCertificate
  /** The first common name of its subject. */
  readonly commonName: string | undefined
  /** OpenSSL's verification error, such as `CERT_HAS_EXPIRED`, or `undefined` if the certificate is trusted. */
  readonly fault: string | undefined
}

// Logins with a token as a clear-text password, the method of all cloud providers.

/** Requests a clear-text password and passes it to a verifier. */
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

// The PasswordMessage of the client.

/** Returns the password, or a refusal if the body is not one NUL-terminated string. */
export function passwordIn(body: Buffer): string | Denied {
  const length = body.length - 1
  if (body.indexOf(0) !== length || length < 0) return malformedAnswer()
  return body.toString('utf8', 0, length)
}

/** The refusal of a malformed response. */
export function malformedAnswer(explanation: string = 'invalid password packet size'): Denied {
  return denied('protocol-violation', explanation, fatal('08P01', explanation))
}

// The check that role and database exist.

/** Returns PostgreSQL's error if the role or the database does not exist. Called after the client is authenticated, as in PostgreSQL. */
export function missingTarget(
  { role, database }: LoginRequest,
  existing: { readonly roles: readonly string[]; readonly database: string },
): Denied | undefined {
  if (!existing.roles.includes(role))
    return denied(
      'role-unknown',
      'the role does not exist',
      fatal('28000', `role "${role}" does not exist`),
    )
  if (database !== existing.database)
    return denied(
      'database-unknown',
      'the database does not exist',
      fatal('3D000', `database "${database}" does not exist`),
    )
  return undefined
}

/** Login refusals: the reason for the gateway's log and the error for the client. */
import { ServerError } from '../../wire/error-response.js'

/**
 * The reasons for which a login is refused. The client gets the error that the provider would send, which is the same for most
 * reasons. The reason itself is in the gateway's log and in `stats().refusals`.
 *
 * | reason | meaning |
 * | --- | --- |
 * | `tls-required` | the client started its login without TLS |
 * | `tls-failed` | the TLS handshake failed, often because the client does not trust the gateway's certificate authority |
 * | `protocol-violation` | the client did not follow PostgreSQL protocol 3 |
 * | `login-timeout` | the login took longer than `loginTimeoutMs` |
 * | `too-many-connections` | `maxConnections` are open already |
 * | `too-many-logins` | the connection was the oldest of more than `maxPendingLogins` that had not logged in |
 * | `setting-refused` | Aurora DSQL: the startup packet has a setting that Aurora DSQL does not support |
 * | `replication-refused` | the client requested a replication connection |
 * | `token-missing` | the password is empty |
 * | `token-malformed` | the password is not a token of this provider |
 * | `access-key-unknown` | no principal has this access key |
 * | `access-key-revoked` | the access key was revoked |
 * | `signature-wrong` | the signature does not match the secret access key, or the signing key |
 * | `session-token-missing` | the access key is temporary, but the token has no session token |
 * | `session-token-unexpected` | the access key is permanent, but the token has a session token |
 * | `session-token-wrong` | the session token is not that of the access key |
 * | `credentials-expired` | the temporary credentials have expired |
 * | `date-inconsistent` | the date of the signing key differs from the date of the token |
 * | `duration-invalid` | the token lifetime is less than a second, or longer than the provider allows |
 * | `token-expired` | the token, or the temporary password of Redshift, has expired |
 * | `token-from-future` | the token is dated more than five minutes in the future |
 * | `token-not-yet-valid` | Entra ID: the token is not valid yet |
 * | `token-unknown` | Cloud SQL: the token was never issued, has expired or was revoked; Google does not distinguish these |
 * | `algorithm-wrong` | Entra ID: the token is not signed with RS256 |
 * | `key-unknown` | Entra ID: the issuer does not publish the signing key of the token |
 * | `key-revoked` | Entra ID: the issuer has revoked the signing key of the token |
 * | `claim-missing` | Entra ID: the token has no issuer, audience, expiry, tenant or object ID |
 * | `issuer-wrong` | Entra ID: the token is from another issuer |
 * | `tenant-wrong` | Entra ID: the token is from another tenant |
 * | `audience-wrong` | Entra ID: the audience of the token is not the databases |
 * | `scope-wrong` | Cloud SQL: the token has no scope that allows database logins |
 * | `principal-unknown` | the owner of the token is not a principal of the endpoint |
 * | `service-wrong` | the token is for another AWS service |
 * | `host-unknown` | the token is for a host that does not belong to this endpoint |
 * | `host-wrong` | the token, or the temporary password of Redshift, is for another host of this endpoint than the client connected to |
 * | `port-wrong` | RDS: the token is for another port |
 * | `region-wrong` | the token is for another region than that of the host |
 * | `action-wrong` | the action is not that of a login; Aurora DSQL: `admin` needs `DbConnectAdmin`, other roles `DbConnect` |
 * | `user-wrong` | RDS, Cloud SQL: the token is for another role than the client logs in as |
 * | `password-missing` | the password is empty |
 * | `password-wrong` | the password is wrong |
 * | `password-unknown` | the endpoint has no password for this role |
 * | `database-wrong` | Redshift: the password is for another database |
 * | `channel-binding-wrong` | SCRAM: the channel binding is for another server, or the client did not see that it was offered |
 * | `certificate-missing` | the client sent no certificate |
 * | `certificate-untrusted` | the client certificate is not signed by an authority of the endpoint |
 * | `certificate-expired` | the client certificate has expired or is not yet valid |
 * | `certificate-wrong` | the common name of the client's certificate is not the role |
 * | `role-not-allowed` | the principal may not log in as this role |
 * | `role-unknown` | the role does not exist |
 * | `database-unknown` | the database does not exist |
 * | `endpoint-unnamed` | there are several endpoints, and the server name of the TLS handshake matches none |
 * | `verifier-failed` | the verification failed, for example because the issuer's keys could not be fetched |
 * | `engine-refused` | the engine of the gateway refused the session |
 * | `hook-refused` | a hook of `handleConnection` refused the login |
 * | `fault` | a fault of `gateway.faults` refused the login |
 */
export type RefusalReason =
  | 'tls-required'
  | 'tls-failed'
  | 'protocol-violation'
  | 'login-timeout'
  | 'too-many-connections'
  | 'too-many-logins'
  | 'setting-refused'
  | 'replication-refused'
  | 'token-missing'
  | 'token-malformed'
  | 'access-key-unknown'
  | 'access-key-revoked'
  | 'signature-wrong'
  | 'session-token-missing'
  | 'session-token-unexpected'
  | 'session-token-wrong'
  | 'credentials-expired'
  | 'date-inconsistent'
  | 'duration-invalid'
  | 'token-expired'
  | 'token-from-future'
  | 'token-not-yet-valid'
  | 'token-unknown'
  | 'algorithm-wrong'
  | 'key-unknown'
  | 'key-revoked'
  | 'claim-missing'
  | 'issuer-wrong'
  | 'tenant-wrong'
  | 'audience-wrong'
  | 'scope-wrong'
  | 'principal-unknown'
  | 'service-wrong'
  | 'host-unknown'
  | 'host-wrong'
  | 'port-wrong'
  | 'region-wrong'
  | 'action-wrong'
  | 'user-wrong'
  | 'password-missing'
  | 'password-wrong'
  | 'password-unknown'
  | 'database-wrong'
  | 'channel-binding-wrong'
  | 'certificate-missing'
  | 'certificate-untrusted'
  | 'certificate-expired'
  | 'certificate-wrong'
  | 'role-not-allowed'
  | 'role-unknown'
  | 'database-unknown'
  | 'endpoint-unnamed'
  | 'verifier-failed'
  | 'engine-refused'
  | 'hook-refused'
  | 'fault'

/** The refusal of a login. */
export interface Refusal {
  readonly reason: RefusalReason
  /** One sentence for the gateway's log. It never contains a token, a secret or a signature. */
  readonly explanation: string
  /** The error for the client, or `undefined` if the connection is closed without one. */
  readonly told: ServerError | undefined
}

export function refusal(reason: RefusalReason, explanation: string, told?: ServerError): Refusal {
  return { reason, explanation, told }
}

/** An error that carries a refusal. */
export function refused(reason: Refusal): Error {
  return Object.assign(new Error(reason.explanation), { refusal: reason })
}

/** The refusal that an error carries, if any. */
export function refusalOf(error: unknown): Refusal | undefined {
  return (error as { refusal?: Refusal } | undefined)?.refusal
}

/** Replaces an error without an SQLSTATE: its text is not for a client that has not authenticated. */
export function withoutText(error: unknown): unknown {
  return sqlStateIn(error) === undefined
    ? new HiddenError('internal error', { cause: error })
    : error
}

/** The SQLSTATE of an error, as `sqlState` or `code`. */
export function sqlStateIn(error: unknown): string | undefined {
  const { sqlState, code } = Object(error) as { sqlState?: unknown; code?: unknown }
  return [sqlState, code].find(
    // Node also has error codes of five letters, such as EPIPE. No SQLSTATE begins with E.
    (each): each is string => typeof each === 'string' && /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(each),
  )
}

export function isHidden(error: unknown): boolean {
  return error instanceof HiddenError
}

class HiddenError extends Error {}

export function fatal(sqlState: string, message: string, hint?: string): ServerError {
  return new ServerError(sqlState, message, {
    severity: 'FATAL',
    ...(hint === undefined ? {} : { hint }),
  })
}

// The errors that are not about the token.

/** The errors of one provider. */
export interface ProviderErrors {
  /** For a client that started its login without TLS. */
  tlsRequired(client: UnencryptedClient): ServerError
  /** For a client that exceeds the limit of connections. */
  tooManyConnections(): ServerError
}

interface UnencryptedClient {
  readonly role: string
  readonly database: string
  /** The IP address of the client. */
  readonly address: string
}

/**
 * PostgreSQL's error texts, for a connection without TLS those of version 14 and later: see `ClientAuthentication` in
 * https://github.com/postgres/postgres/blob/master/src/backend/libpq/auth.c
 */
export const POSTGRES_ERRORS: ProviderErrors = {
  tlsRequired: (client) => fatal('28000', `no pg_hba.conf entry for ${unencrypted(client)}`),
  tooManyConnections: () => fatal('53300', 'sorry, too many clients already'),
}

/** Describes a connection without TLS as PostgreSQL does. */
export function unencrypted({ role, database, address }: UnencryptedClient): string {
  return `host "${address}", user "${role}", database "${database}", no encryption`
}

/** Why the gateway refuses a login: what its own log says, and what the client gets to see. */
import { ServerError } from '../../wire/error-response.js'

/**
 * Every reason for which a login is refused. The client sees what a client of the provider would see, which is the same
 * for most of them; the reason is in the gateway's log and in `stats().refusals`.
 *
 * | reason | means |
 * | --- | --- |
 * | `tls-required` | the client began its login without TLS |
 * | `tls-failed` | the TLS handshake failed; often the client does not trust the gateway's authority |
 * | `protocol-violation` | what came is not a login of the PostgreSQL protocol 3 |
 * | `login-timeout` | the login took longer than `loginTimeoutMs` |
 * | `too-many-connections` | `maxConnections` are open already |
 * | `too-many-logins` | it was the oldest of more than `maxPendingLogins` connections that had not logged in |
 * | `setting-refused` | Aurora DSQL: the startup packet has a setting that it does not have |
 * | `replication-refused` | the client asked for a replication connection |
 * | `token-missing` | the password is empty |
 * | `token-malformed` | the password is no token of this provider |
 * | `access-key-unknown` | no principal has this access key |
 * | `access-key-revoked` | the access key was revoked |
 * | `signature-wrong` | the signature is not the one that the access key's secret gives |
 * | `session-token-missing` | the access key is a temporary one and the token names no session |
 * | `session-token-unexpected` | the access key is a permanent one and the token names a session |
 * | `session-token-wrong` | the token names another session |
 * | `credentials-expired` | the temporary credentials have ended |
 * | `date-inconsistent` | the date of the signing key is not the date of the token |
 * | `duration-invalid` | the token is made to last less than a second, or longer than the provider has them last |
 * | `token-expired` | the token has ended |
 * | `token-from-future` | the token is dated more than five minutes ahead |
 * | `token-not-yet-valid` | Entra ID: the token is valid from a later time on only |
 * | `token-unknown` | Cloud SQL: the token was never issued, has ended, or was revoked; Google does not tell which |
 * | `algorithm-wrong` | Entra ID: the token is not signed with RS256 |
 * | `key-unknown` | Entra ID: the issuer publishes no key such as the token is signed with |
 * | `key-revoked` | Entra ID: the issuer has taken back the key that the token is signed with |
 * | `claim-missing` | Entra ID: the token lacks its issuer, its audience, its end, its tenant or its owner |
 * | `issuer-wrong` | Entra ID: the token was issued by somebody else |
 * | `tenant-wrong` | Entra ID: the token is of another tenant |
 * | `audience-wrong` | Entra ID: the token is for something else than databases |
 * | `scope-wrong` | Cloud SQL: the token is for no scope with which one may log in |
 * | `principal-unknown` | the token's owner is no principal of the endpoint |
 * | `service-wrong` | the token is for another AWS service |
 * | `host-unknown` | the token is for a host that is none of this endpoint |
 * | `host-wrong` | the token is for another host of this endpoint than the one that the client dialled |
 * | `port-wrong` | RDS: the token is for another port |
 * | `region-wrong` | the token is for another region than the host's |
 * | `action-wrong` | the action is none of a login; Aurora DSQL: `admin` needs `DbConnectAdmin`, all others `DbConnect` |
 * | `user-wrong` | RDS, Cloud SQL: the token is for another role than the one that the client logs in as |
 * | `password-missing` | the password is empty |
 * | `password-wrong` | the password is not that of the role |
 * | `password-unknown` | the endpoint has no password for this role |
 * | `channel-binding-wrong` | SCRAM: the client is bound to another TLS connection, or was told that there is no binding |
 * | `certificate-missing` | the client showed no certificate |
 * | `certificate-untrusted` | the client's certificate is not by the endpoint's authorities |
 * | `certificate-expired` | the client's certificate has ended, or has not begun |
 * | `certificate-wrong` | the common name of the client's certificate is not the role |
 * | `role-not-allowed` | the principal may not log in as this role |
 * | `role-unknown` | there is no such role |
 * | `database-unknown` | there is no such database |
 * | `endpoint-unnamed` | there are several endpoints, and the TLS handshake names none of them |
 * | `verifier-failed` | the check itself failed, as where an issuer's keys could not be fetched |
 * | `engine-refused` | the PostgreSQL behind the gateway refused the session |
 * | `fault` | `gateway.faults` was told to |
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
  | 'fault'

/** A login that is refused. */
export interface Refusal {
  readonly reason: RefusalReason
  /** One sentence for the gateway's log. Never holds a token, a secret or a signature. */
  readonly explanation: string
  /** What the client is told, or `undefined` where the connection is just closed. */
  readonly told: ServerError | undefined
}

export function refusal(reason: RefusalReason, explanation: string, told?: ServerError): Refusal {
  return { reason, explanation, told }
}

export function fatal(sqlState: string, message: string, hint?: string): ServerError {
  return new ServerError(sqlState, message, {
    severity: 'FATAL',
    ...(hint === undefined ? {} : { hint }),
  })
}

// What clients of an endpoint are told where the token is not the reason.

/** The words of one provider. */
export interface ProviderErrors {
  /** To a client that began its login without TLS. */
  tlsRequired(client: UnencryptedClient): ServerError
  /** To a client for which there is no room. */
  tooManyConnections(): ServerError
}

interface UnencryptedClient {
  readonly role: string
  readonly database: string
  /** Its network address. */
  readonly address: string
}

/**
 * PostgreSQL's own words, of version 14 and later for a connection without TLS: see `ClientAuthentication` in
 * https://github.com/postgres/postgres/blob/master/src/backend/libpq/auth.c
 */
export const POSTGRES_ERRORS: ProviderErrors = {
  tlsRequired: (client) => fatal('28000', `no pg_hba.conf entry for ${unencrypted(client)}`),
  tooManyConnections: () => fatal('53300', 'sorry, too many clients already'),
}

/** A connection without TLS as PostgreSQL describes it. */
export function unencrypted({ role, database, address }: UnencryptedClient): string {
  return `host "${address}", user "${role}", database "${database}", no encryption`
}

/** Why the gateway refuses a login: what its own log says, and what the client gets to see. */
import { ServerError } from '../wire/server-error.js'

/**
 * Every reason for which a login is refused. The client sees what a client of Aurora DSQL would see, which is the same
 * for most of them; the reason is in the gateway's log and in `stats().refusals`.
 *
 * | reason | means |
 * | --- | --- |
 * | `tls-required` | the client began its login without TLS |
 * | `tls-failed` | the TLS handshake failed; often the client does not trust the gateway's authority |
 * | `protocol-violation` | what came is not a login of the PostgreSQL protocol 3 |
 * | `login-timeout` | the login took longer than `loginTimeoutMs` |
 * | `too-many-connections` | `maxConnections` are open already |
 * | `replication-refused` | the client asked for a replication connection |
 * | `token-missing` | the password is empty |
 * | `token-malformed` | the password is no presigned request |
 * | `access-key-unknown` | no principal has this access key |
 * | `access-key-revoked` | the access key was revoked |
 * | `signature-wrong` | the signature is not the one that the access key's secret gives |
 * | `session-token-missing` | the access key is a temporary one and the token names no session |
 * | `session-token-unexpected` | the access key is a permanent one and the token names a session |
 * | `session-token-wrong` | the token names another session |
 * | `credentials-expired` | the temporary credentials have ended |
 * | `date-inconsistent` | the date of the signing key is not the date of the token |
 * | `duration-invalid` | the token is made to last less than a second or more than a week |
 * | `token-expired` | the token has ended |
 * | `token-from-future` | the token is dated more than five minutes ahead |
 * | `service-wrong` | the token is for another AWS service |
 * | `host-unknown` | the token is for a host that is no cluster of this gateway |
 * | `host-wrong` | the token is for another cluster than the one that the client dialled |
 * | `region-wrong` | the token is for another region than the cluster's |
 * | `action-wrong` | the action does not fit the role: `admin` needs `DbConnectAdmin`, all others `DbConnect` |
 * | `role-not-allowed` | the principal may not log in as this role |
 * | `role-unknown` | there is no such role |
 * | `database-unknown` | there is no such database |
 * | `engine-refused` | the PostgreSQL behind the gateway refused the session |
 * | `fault` | `gateway.faults` was told to |
 */
export type RefusalReason =
  | 'tls-required'
  | 'tls-failed'
  | 'protocol-violation'
  | 'login-timeout'
  | 'too-many-connections'
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
  | 'service-wrong'
  | 'host-unknown'
  | 'host-wrong'
  | 'region-wrong'
  | 'action-wrong'
  | 'role-not-allowed'
  | 'role-unknown'
  | 'database-unknown'
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

/**
 * Aurora DSQL's answer to a token that it does not take: one message whatever the fault, SQLSTATE 08006, and in some cases
 * a hint. AWS documents the hints (https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html); message
 * and SQLSTATE are what drivers print in public reports, such as https://github.com/dbcodeio/public/issues/637
 */
export function accessDenied(hint?: string): ServerError {
  return fatal('08006', 'unable to accept connection, access denied', hint)
}

/** The same from the mapping of IAM principals to database roles, which public reports show with SQLSTATE 28000. */
export function roleDenied(): ServerError {
  return fatal('28000', 'unable to accept connection, access denied')
}

export function fatal(sqlState: string, message: string, hint?: string): ServerError {
  return new ServerError(sqlState, message, {
    severity: 'FATAL',
    ...(hint === undefined ? {} : { hint }),
  })
}

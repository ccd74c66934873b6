/** Hints for logins that RDS, Aurora or RDS Proxy reject. */
import type { Refusal } from '../../connection/authenticate.js'
import { isUntrustedCertificate } from '../../tls.js'
import { rdsEndpoint } from '../host-names.js'

/**
 * Returns the likely causes of a rejected login, or `undefined` for an error that needs no explanation.
 *
 * RDS reports the reason for rejecting a token only in its log:
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Troubleshooting.html The errors of RDS Proxy are in
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html
 */
export function explainRefusal({ message, user }: Refusal): string | undefined {
  return CAUSES.find(({ pattern }) => pattern.test(message))?.hint(user)
}

interface Cause {
  readonly pattern: RegExp
  readonly hint: (user: string) => string
}

const POLICY =
  'an IAM policy that allows rds-db:connect on arn:aws:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/USER'

const CAUSES: readonly Cause[] = [
  {
    pattern: /PAM authentication failed/i,
    hint: (user) =>
      `RDS rejected the token. Check that the identity of the credentials has ${POLICY}, with the resource ID (db-..., cluster-... or prx-..., not the name) and the user "${user}" in the same case; that IAM database authentication is on; that host, port and region are those of the database itself; that the session of the credentials has not expired; and the clock of this machine. RDS logs the reason in iam-db-auth-error.`,
  },
  {
    pattern: /IAM authentication failed/i,
    hint: (user) =>
      `RDS Proxy rejected the token. Check that the identity of the credentials has ${POLICY}, with the proxy's resource ID (prx-...) and the user "${user}"; that IAM authentication is on for this user at the proxy; and that host, port and region are those of the proxy.`,
  },
  {
    pattern: /RDS proxy has no credentials for the role/i,
    hint: (user) =>
      `RDS Proxy logs in to the database with its own credentials: configure a secret for "${user}" in Secrets Manager, or IAM authentication to the database.`,
  },
  {
    pattern: /password that was provided for the role .* is wrong/i,
    hint: (user) =>
      `RDS Proxy treated the token as a password: enable IAM authentication for "${user}" at the proxy.`,
  },
  {
    pattern: /pg_hba\.conf.*(SSL off|no encryption)/i,
    hint: () =>
      'The connection reached the database without TLS: an intermediary, such as a tunnel or a connection pooler, terminates the TLS of this client. Dial the database directly, or let the intermediary pass TLS through.',
  },
  {
    pattern: /pg_hba\.conf/i,
    hint: (user) =>
      `The database does not allow "${user}" to log in from this address, or to this database: check the database name and the endpoint.`,
  },
  {
    pattern: /password authentication failed/i,
    hint: (user) =>
      `The database treated the token as a password, as it does for a role without IAM authentication, or one that does not exist. Run: GRANT rds_iam TO ${quoted(user)}. IAM database authentication must also be enabled.`,
  },
  {
    pattern: /role ".*" does not exist/i,
    hint: (user) =>
      `Run: CREATE ROLE ${quoted(user)} LOGIN; GRANT rds_iam TO ${quoted(user)}. Quoted role names are case-sensitive.`,
  },
  {
    pattern: /role ".*" is not permitted to log in/i,
    hint: (user) => `Run: ALTER ROLE ${quoted(user)} LOGIN.`,
  },
]

/** The name as a quoted SQL identifier. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

// Hints for untrusted certificates.

/**
 * Returns where to get the CAs of an endpoint, or `undefined` for any other error. The bundle that is trusted by default does not cover
 * every region.
 */
export function explainUntrusted(error: unknown, host: string): string | undefined {
  if (!isUntrustedCertificate(error)) return undefined
  const region = rdsEndpoint(host)?.region ?? ''
  return `The certificate of ${host} is signed by an untrusted CA. Give Amazon's CA bundle for ${region} as tls: { ca: 'PATH' }: ${bundleOf(region)}.`
}

/**
 * Where Amazon publishes the bundle of a region.
 *
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html and, for China,
 * https://docs.amazonaws.cn/en_us/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 */
function bundleOf(region: string): string {
  const store = STORES.find(({ regions }) => regions.test(region))?.url
  return store === undefined
    ? 'see the documentation of that partition'
    : `${store}/${region}/${region}-bundle.pem`
}

const STORES: readonly { regions: RegExp; url: string }[] = [
  { regions: /^cn-/, url: 'https://rds-truststore.s3.cn-north-1.amazonaws.com.cn' },
  { regions: /^us-gov-/, url: 'https://truststore.pki.us-gov-west-1.rds.amazonaws.com' },
  {
    regions: /^(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+$/,
    url: 'https://truststore.pki.rds.amazonaws.com',
  },
]

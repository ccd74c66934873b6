/** What to do about the errors with which RDS, Aurora and RDS Proxy refuse a login. */
import type { Refusal } from '../../connection/authenticate.js'
import { isUntrustedCertificate } from '../../tls.js'
import { rdsEndpoint } from './endpoint.js'

/**
 * Returns the likely causes of a refusal, or `undefined` for one that speaks for itself.
 *
 * RDS says what it had against a token in its own log only:
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Troubleshooting.html
 * The errors of RDS Proxy are in https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html
 */
export function explainRefusal({ message, user }: Refusal): string | undefined {
  return CAUSES.find(({ words }) => words.test(message))?.hint(user)
}

interface Cause {
  readonly words: RegExp
  readonly hint: (user: string) => string
}

const POLICY =
  'an IAM policy that allows rds-db:connect on arn:aws:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/USER'

const CAUSES: readonly Cause[] = [
  {
    words: /PAM authentication failed/i,
    hint: (user) =>
      `RDS did not take the token. Check that the credentials belong to who has ${POLICY}, with the resource ID (db-..., cluster-... or prx-..., not the name) and the user "${user}" in the same case; that IAM database authentication is on; that host, port and region are those of the database itself; that the session of the credentials has not ended; and the clock of this machine. RDS writes the reason to its log iam-db-auth-error.`,
  },
  {
    words: /IAM authentication failed/i,
    hint: (user) =>
      `RDS Proxy did not take the token. Check that the credentials belong to who has ${POLICY}, with the proxy's resource ID (prx-...) and the user "${user}"; that IAM authentication is on for this user at the proxy; and that host, port and region are those of the proxy.`,
  },
  {
    words: /RDS proxy has no credentials for the role/i,
    hint: (user) =>
      `RDS Proxy logs in to the database by itself: give it a secret for "${user}" in Secrets Manager, or IAM authentication to the database.`,
  },
  {
    words: /password that was provided for the role .* is wrong/i,
    hint: (user) =>
      `RDS Proxy took the token for a password: turn IAM authentication on for "${user}" at the proxy.`,
  },
  {
    words: /pg_hba\.conf.*(SSL off|no encryption)/i,
    hint: () =>
      'The connection came to the database without TLS, though it left here with TLS: something in between, such as a tunnel or a connection pooler, ends it. Dial the database itself, or have that pass TLS on.',
  },
  {
    words: /pg_hba\.conf/i,
    hint: (user) =>
      `The database does not let "${user}" in from here, or not to this database: check the database name, and whether this is the endpoint that was meant.`,
  },
  {
    words: /password authentication failed/i,
    hint: (user) =>
      `The database took the token for a password, as it does for a role that may not log in by IAM, and for one that does not exist. Run: GRANT rds_iam TO ${quoted(user)}. IAM database authentication must be on, too.`,
  },
  {
    words: /role ".*" does not exist/i,
    hint: (user) =>
      `Run: CREATE ROLE ${quoted(user)} LOGIN; GRANT rds_iam TO ${quoted(user)}. Names of roles are case-sensitive here.`,
  },
  {
    words: /role ".*" is not permitted to log in/i,
    hint: (user) => `Run: ALTER ROLE ${quoted(user)} LOGIN.`,
  },
]

/** As SQL writes a name. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

// What to do about an endpoint whose certificate nobody that is trusted has signed.

/**
 * Returns where to get the authorities of an endpoint, or `undefined` for another kind of error. The bundle that is trusted by
 * default has not those of every region.
 */
export function explainUntrusted(error: unknown, host: string): string | undefined {
  if (!isUntrustedCertificate(error)) return undefined
  const region = rdsEndpoint(host)?.region ?? ''
  return `Who signed the certificate of ${host} is not trusted here. Give Amazon's authorities for ${region} as tls: { ca: 'PATH' }: ${bundleOf(region)}.`
}

/**
 * Where Amazon has the bundle of a region.
 *
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html and, for China,
 * https://docs.amazonaws.cn/en_us/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 */
function bundleOf(region: string): string {
  const store = STORES.find(({ regions }) => regions.test(region))?.url
  return store === undefined
    ? 'the documentation of that partition says where they are'
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

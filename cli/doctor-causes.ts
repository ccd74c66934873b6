/** The likeliest causes of a login that failed, in order, and what a login needs. */
import { dsqlRegion, rdsEndpoint } from '../core/providers/host-names.js'
import type { Findings, Step } from './login-walk.js'

export interface Cause {
  readonly cause: string
  readonly remedy: string
}

/** A cause, and whether the findings point to it. */
interface Candidate extends Cause {
  readonly isLikely: boolean
}

/** At least one cause: those that the findings point to, or else the usual ones. */
export function causesOf(findings: Findings, failed: Step): Cause[] {
  const candidates = candidatesFor(findings, failed)
  const likely = candidates.filter(({ isLikely }) => isLikely)
  return (likely.length > 0 ? likely : candidates).map(({ cause, remedy }) => ({ cause, remedy }))
}

function candidatesFor(findings: Findings, { name, failure }: Step): Candidate[] {
  const { message = '', hint = '', code = '' } = failure ?? {}
  const { login } = findings
  const text = `${message} ${hint}`
  const says = (pattern: RegExp): boolean => pattern.test(text)
  const always = (cause: string, remedy: string): Candidate => ({ cause, remedy, isLikely: true })
  switch (name) {
    case 'credentials':
      if (code === 'ERR_PEER_MISSING') return [always('A package is missing.', hint)]
      if (code === 'ERR_TOKEN_TIMEOUT')
        return [
          always(
            'The source of the credentials does not answer.',
            'Check the network, or give --token-timeout.',
          ),
        ]
      return [
        {
          cause: 'The host name is an alias that leads to no database of this provider.',
          remedy: hint || 'Correct the CNAME record, or give the own name of the endpoint.',
          isLikely: says(/CNAME/),
        },
        {
          cause: 'The SSO session has expired.',
          remedy: 'Run: aws sso login, with --profile if it is not the default one.',
          isLikely:
            says(/\bSSO\b.*(?:expired|invalid|login)|sso login/i) &&
            !/^could not.*any providers/i.test(message),
        },
        {
          cause: 'The credentials have expired.',
          remedy:
            'Get new ones, and set all of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.',
          isLikely: says(/credentials have expired/i),
        },
        {
          cause: 'There are no credentials.',
          remedy: hint || 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --profile.',
          isLikely: says(/any providers|could not (?:be )?load/i),
        },
      ]
    case 'dns':
      return [
        always(
          `The host name ${login.host} does not resolve.`,
          'Check the name and its region, and that this network resolves private names.',
        ),
      ]
    case 'tcp':
      return [
        always(
          code === 'ECONNREFUSED'
            ? 'Nothing listens at this address: the port, or the address of a tunnel, is wrong.'
            : 'The address does not answer: a firewall, a security group or the wrong network.',
          `Check --server-port (${login.port}) and --connect-to.`,
        ),
      ]
    case 'tls':
      return tlsCauses(says, hint)
    case 'login':
      return loginCauses(findings, says, code)
    default:
      return [always(message, hint || 'See docs/cli.md.')]
  }
}

type Says = (pattern: RegExp) => boolean

function tlsCauses(says: Says, hint: string): Candidate[] {
  return [
    {
      cause: 'The certificate authority of the server is not trusted.',
      remedy: hint || 'Give it with --ca.',
      isLikely: says(/self.signed|unable to (?:verify|get)|untrusted|UNABLE_TO|SELF_SIGNED/i),
    },
    {
      cause: 'The certificate is for another name: the server was not asked for this host.',
      remedy:
        'A tunnel or a load balancer may lead to another server. Check --connect-to and the host.',
      isLikely: says(/altname|does not match|not in the cert|unrecognized.name|handshake failure/i),
    },
    {
      cause: 'What answers there is no PostgreSQL server with TLS.',
      remedy: 'Check host and port, and whether something between ends TLS.',
      isLikely: says(/does not support (?:SSL|TLS)|protocol|closed the connection|ECONNRESET/i),
    },
  ]
}

function loginCauses(findings: Findings, says: Says, code: string): Candidate[] {
  const { login, clockAheadMs = 0, aliases } = findings
  const { user = '', provider, region = '' } = login
  const endpointRegion = [login.host, ...aliases]
    .map((name) => dsqlRegion(name) ?? rdsEndpoint(name)?.region)
    .find((each) => each !== undefined)
  const isDenied = says(/access denied|PAM authentication failed|IAM authentication failed/i)
  return [
    {
      cause: `The clock of this machine is ${Math.round(Math.abs(clockAheadMs) / 1_000)} s ${clockAheadMs < 0 ? 'behind' : 'ahead'}.`,
      remedy:
        'Set it, for example with NTP: tokens are valid for a time from when they say they were made.',
      isLikely:
        (isDenied && Math.abs(clockAheadMs) > 240_000) ||
        says(/signature expired|token has expired/i),
    },
    {
      cause: `The token is for the region ${region}, and the database is in ${endpointRegion ?? 'another one'}.`,
      remedy: 'Leave --region out, or correct it.',
      isLikely:
        isDenied && endpointRegion !== undefined && region !== '' && endpointRegion !== region,
    },
    {
      cause: 'The server did not get the host name (SNI).',
      remedy: 'Something between ends TLS, or dials by address. Let it pass TLS through.',
      isLikely: says(/sni was not received/i),
    },
    {
      cause: `The database "${login.database}" does not exist.`,
      remedy: 'Check --database.',
      isLikely: code === '3D000',
    },
    {
      cause: `The role "${user}" does not exist.`,
      remedy: `Check --user, also its case, or create the role as below.`,
      isLikely:
        says(/role ".*" does not exist|principal not/i) ||
        (provider === 'entra' && code === '28P01'),
    },
    {
      cause: 'The limit of connections is reached.',
      remedy: 'Close some, or wait.',
      isLikely: code === '53300' || code === '53400',
    },
    {
      cause:
        provider === 'aurora-dsql'
          ? `The role "${user}" does not exist, has no LOGIN, or is not granted to the identity.`
          : `The role "${user}" is not granted to log in with tokens.`,
      remedy: 'Run the SQL below as the administrator.',
      // Aurora DSQL refuses a role that is not granted with 28000, and a missing permission with 08006.
      isLikely:
        provider === 'aurora-dsql' ? code === '28000' : says(/password authentication failed/i),
    },
    {
      cause: `The identity has no permission for the action ${actionOf(findings)}.`,
      remedy: 'Attach the policy below to it.',
      isLikely: isDenied || says(/not authorized to perform/i),
    },
    {
      cause: 'The clock of this machine may be wrong: it could not be compared.',
      remedy: 'Compare it with that of another machine.',
      isLikely: isDenied && findings.clockAheadMs === undefined,
    },
  ]
}

function actionOf({ login: { provider, user } }: Findings): string {
  if (provider === 'aurora-dsql') return user === 'admin' ? 'dsql:DbConnectAdmin' : 'dsql:DbConnect'
  return provider === 'rds' ? 'rds-db:connect' : 'of its login'
}

// What a login needs.

/** The policy and the SQL, to paste. What is not known stays in capitals. */
export function grantsFor(findings: Findings): string {
  const { login, arn } = findings
  const { provider, host, user = 'USER', region = 'REGION' } = login
  const [, partition = 'aws', account = 'ACCOUNT'] =
    /^arn:([\w-]+):\w+::(\d{12}):/.exec(arn ?? '') ?? []
  const role = `"${user.replaceAll('"', '""')}"`
  switch (provider) {
    case 'aurora-dsql': {
      const resource = `arn:${partition}:dsql:${region}:${account}:cluster/${host.split('.')[0]}`
      const sql =
        user === 'admin'
          ? []
          : [
              `CREATE ROLE ${role} WITH LOGIN;`,
              `AWS IAM GRANT ${role} TO '${roleArnOf(arn) ?? `arn:aws:iam::${account}:role/NAME`}';`,
              `GRANT USAGE ON SCHEMA your_schema TO ${role};`,
            ]
      return [policy(actionOf(findings), resource), ...sql].join('\n')
    }
    case 'rds':
      return [
        policy(
          'rds-db:connect',
          `arn:${partition}:rds-db:${region}:${account}:dbuser:RESOURCE-ID/${user}`,
        ),
        'RESOURCE-ID is db-... of the instance, cluster-... of the Aurora cluster, or prx-... of the proxy.',
        `CREATE USER ${role}; GRANT rds_iam TO ${role};`,
      ].join('\n')
    case 'redshift':
      return policy(
        'redshift:GetClusterCredentialsWithIAM',
        `arn:${partition}:redshift:${region}:${account}:dbname:CLUSTER/${login.database}`,
      )
    case 'entra':
      return `As the Entra administrator, in the database postgres:\nSELECT * FROM pgaadauth_create_principal('${user.replaceAll("'", "''")}', false, false);`
    case 'cloud-sql':
      return 'The roles roles/cloudsql.instanceUser and roles/cloudsql.client, the flag cloudsql.iam_authentication, and an IAM user of the instance: the e-mail address, for a service account without .gserviceaccount.com.'
    case 'custom':
      return 'A role that accepts the passwords of the login.'
  }
}

function policy(action: string, resource: string): string {
  const statement = { Effect: 'Allow', Action: action, Resource: resource }
  return JSON.stringify({ Version: '2012-10-17', Statement: [statement] }, null, 2)
}

/** Sessions of an assumed role are granted by the ARN of the role. */
function roleArnOf(arn: string | undefined): string | undefined {
  const [, partition, account, name] =
    /^arn:([\w-]+):sts::(\d{12}):assumed-role\/([^/]+)\//.exec(arn ?? '') ?? []
  return name === undefined ? arn : `arn:${partition}:iam::${account}:role/${name}`
}

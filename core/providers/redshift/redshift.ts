/** Logins to Amazon Redshift, provisioned and serverless. */
import type { Refusal } from '../../connection/authenticate.js'
import { isAuthRejected } from '../../connection/endpoint-health.js'
import { createLogin, type Login } from '../../login.js'
import { PgIamError } from '../../errors.js'
import {
  boolean,
  type Check,
  type Checked,
  type Environment,
  integerWithin,
  mapNonEmpty,
  matching,
  oneOf,
  oneOrMore,
  secureUrl,
} from '../../options/check.js'
import {
  checkLoginOptions,
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
} from '../../options/common-options.js'
import { type Clock } from '../../tokens/token-source.js'
import {
  amazonAuthorities,
  AWS_CHECKS,
  awsCredentials,
  type AwsOptions,
  awsRegion,
  explainUntrustedAmazon,
} from '../aws/aws-options.js'
import { type ChosenUser, redshiftPasswordIssuer, redshiftTarget } from './passwords.js'

export interface RedshiftOptions extends CommonOptions, AwsOptions {
  /** Must not be given: Redshift returns the user together with the password. To choose the user, see `dbUser`. */
  user?: never
  /** Must not be given either. */
  username?: never
  /**
   * The database user of a provisioned cluster to log in as, through `GetClusterCredentials`. Default: the user of the IAM identity,
   * through `GetClusterCredentialsWithIAM`. 1 to 64 letters, digits and `_+.@-`, starting with a letter.
   */
  dbUser?: string
  /** Database groups that `dbUser` joins for the session: at least one, in lower case. */
  dbGroups?: readonly string[]
  /** Whether to create `dbUser` if it does not exist. Default `false`. */
  autoCreate?: boolean
  /** The cluster, if `host` does not contain it, such as with a tunnel or a Redshift-managed VPC endpoint. */
  clusterIdentifier?: string
  /** The serverless workgroup, if `host` does not contain it. */
  workgroupName?: string
  /** Declares that `host` is a custom domain name of a cluster or workgroup, which Redshift looks up. */
  customDomain?: 'cluster' | 'workgroup'
  /**
   * The URL of the Redshift API, such as that of a VPC interface endpoint: https, or http on this machine. Default: that of the AWS SDK,
   * which also reads `AWS_ENDPOINT_URL`.
   */
  apiEndpoint?: string
  /** Lifetime of a password, in seconds, from 900 to 3,600. Default 900. */
  tokenDurationSecs?: number
}

/**
 * Returns a login to Amazon Redshift with temporary IAM passwords, over verified TLS.
 *
 * `GetClusterCredentialsWithIAM`, for a provisioned cluster, or `GetCredentials`, for a serverless workgroup, returns user and password.
 * They are reused for all connections until shortly before the password expires. The user is the IAM identity: `IAM:USER`, or `IAMR:ROLE`
 * for a role, which Redshift creates at its first login. `login.user` is known from the first password on. The lifetime of the password
 * does not depend on the AWS credentials that requested it. With `dbUser`, the older `GetClusterCredentials` is used for any user of a
 * provisioned cluster: `IAM:NAME`, or `IAMA:NAME` with `autoCreate`.
 *
 * `host` is an endpoint name, which contains cluster or workgroup and region, or a custom domain name. Default port 5439, default database
 * `dev`. Redshift has certificates of AWS Certificate Manager, which Node trusts:
 * https://docs.aws.amazon.com/redshift/latest/mgmt/connecting-ssl-support.html
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options. The login's `token()` rejects
 * with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`, `ERR_TOKEN_INVALID` or `ERR_PEER_MISSING`.
 */
export function redshift(options: RedshiftOptions = {}): Login {
  return createRedshift(options, process.env)
}

/** The same with environment and clock as parameters. */
export function createRedshift(given: RedshiftOptions, env: Environment, clock?: Clock): Login {
  const options = checkLoginOptions(given, CHECKS)
  // PGUSER is ignored: it may be set for other programs.
  const common = commonSettings(
    options,
    { ...env, PGUSER: undefined },
    {
      port: 5439,
      database: 'dev',
      reuseTokenSecs: Infinity,
      hostHint: 'the endpoint name of the cluster or workgroup',
      provider: 'redshift',
    },
  )
  const targets = mapNonEmpty(common.targets, (place) => {
    const target = redshiftTarget(place.host, options)
    return { ...place, ...target, region: awsRegion(target.region, options.region, env) }
  })
  refuseNameForSeveralHosts(options, targets.length)
  const chosen = chosenUser(
    options,
    targets.some(({ kind }) => kind === 'workgroup'),
  )
  const credentials = awsCredentials(
    { ...common, options, env, region: targets[0].region, tokenDurationMs: REQUEST_MS },
    clock,
  )
  const durationSecs = options.tokenDurationSecs ?? 900
  const hosts = mapNonEmpty(targets, ({ host, region, connectTo, kind, name }) => ({
    host,
    region,
    connectTo,
    issueToken: redshiftPasswordIssuer({
      ...common,
      host,
      region,
      kind,
      name,
      chosen,
      apiEndpoint: options.apiEndpoint,
      durationSecs,
      credentials,
    }),
  }))
  return createLogin(
    {
      ...common,
      provider: 'redshift',
      hosts,
      tokenVerb: 'get',
      loadAuthorities: () => amazonAuthorities(env),
      explainRefusal,
      explainFailure: explainUntrustedAmazon,
    },
    clock,
  )
}

/** How long AWS credentials must remain valid to request a password. The password has its own lifetime. */
const REQUEST_MS = 60_000

const noUser: Check<never> = (_value, name) => {
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must not be given: Redshift returns the user together with the password`,
    {
      hint: 'The user is the IAM identity of the credentials: IAM:USER, or IAMR:ROLE for a role. For another user of a provisioned cluster give "dbUser".',
    },
  )
}

const CHECKS = {
  ...COMMON_CHECKS,
  ...AWS_CHECKS,
  user: noUser,
  username: noUser,
  dbUser: matching(
    /^(?!public$)[a-z][a-z0-9_+.@-]{0,63}$/i,
    'the name of a database user: 1 to 64 letters, digits and _+.@-, a letter first',
  ),
  dbGroups: oneOrMore(
    matching(
      /^[a-z][a-z0-9_+.@-]{0,63}$/,
      'the name of a group in lower case: 1 to 64 letters, digits and _+.@-, a letter first',
    ),
  ),
  autoCreate: boolean,
  clusterIdentifier: matching(/^[a-z][a-z0-9-]{0,62}$/, 'the identifier of a cluster'),
  workgroupName: matching(/^[a-z0-9-]{3,64}$/, 'the name of a workgroup'),
  customDomain: oneOf('cluster', 'workgroup'),
  apiEndpoint: secureUrl,
  tokenDurationSecs: integerWithin(900, 3_600, 'seconds'),
} as const

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentials.html */
function chosenUser(
  { dbUser, dbGroups, autoCreate }: Checked<typeof CHECKS>,
  isServerless: boolean,
): ChosenUser | undefined {
  if (dbUser === undefined) {
    for (const [name, value] of Object.entries({ dbGroups, autoCreate })) {
      if (value === undefined || value === false) continue
      throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given without "dbUser"`, {
        hint: 'The user of an IAM identity has the groups and roles that it was granted in the database.',
      })
    }
    return undefined
  }
  if (isServerless) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      '"dbUser" must not be given for a serverless workgroup',
      {
        hint: 'The user of a workgroup is the IAM identity of the credentials. For another user, assume another role with "assumeRole".',
      },
    )
  }
  return { user: dbUser, groups: dbGroups, create: autoCreate ?? false }
}

function refuseNameForSeveralHosts(
  options: { clusterIdentifier?: string; workgroupName?: string },
  hosts: number,
): void {
  if (hosts === 1) return
  for (const name of ['clusterIdentifier', 'workgroupName'] as const) {
    if (options[name] === undefined) continue
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given for several hosts`)
  }
}

function explainRefusal({ sqlState, user }: Refusal): string | undefined {
  if (!isAuthRejected(sqlState)) return undefined
  if (user.startsWith('IAM:'))
    return `The IAM password of "${user}" was rejected. With "dbUser", that user must exist in the database, or "autoCreate" must be true. Also check "host" and "clusterIdentifier".`
  return `The IAM password of "${user}" was rejected. It is only valid for the cluster or workgroup that it was requested for: check "host", and "clusterIdentifier" or "workgroupName".`
}

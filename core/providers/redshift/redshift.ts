/** Logins to Amazon Redshift, provisioned and serverless. */
import type { Refusal } from '../../connection/authenticate.js'
import { isAuthRejected } from '../../connection/endpoint-health.js'
import { createLogin, type Login } from '../../login.js'
import { PgIamError } from '../../errors.js'
import {
  boolean,
  type Check,
  type Checked,
  checkOptions,
  type Environment,
  integerWithin,
  mapNonEmpty,
  matching,
  oneOf,
  oneOrMore,
} from '../../options/check.js'
import { COMMON_CHECKS, type CommonOptions, commonSettings } from '../../options/common-options.js'
import { type Clock, createTokenInvalidation } from '../../tokens/token-source.js'
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
  /** Not to be given: Redshift names the user together with the password. Whom to ask for is `dbUser`. */
  user?: never
  /** Not to be given either. */
  username?: never
  /**
   * The database user of a provisioned cluster to log in as, by `GetClusterCredentials`. Default: the user of the IAM identity, by
   * `GetClusterCredentialsWithIAM`. 1 to 64 letters, digits and `_+.@-`, with a letter in front.
   */
  dbUser?: string
  /** Groups of the database that `dbUser` joins for the session: at least one, in lower case. */
  dbGroups?: readonly string[]
  /** Whether `dbUser` is made where it does not exist. Default `false`. */
  autoCreate?: boolean
  /** The cluster, where `host` does not name it: a tunnel, a VPC endpoint of Redshift. */
  clusterIdentifier?: string
  /** The serverless workgroup, where `host` does not name it. */
  workgroupName?: string
  /** Says that `host` is a custom domain name, and of what. Redshift finds out of which one. */
  customDomain?: 'cluster' | 'workgroup'
  /** Life of a password, in seconds, from 900 to 3,600. Default 900. */
  tokenDurationSecs?: number
}

/**
 * Returns a login to Amazon Redshift with the temporary passwords of IAM, over verified TLS.
 *
 * User and password come together, from `GetClusterCredentialsWithIAM` for a provisioned cluster and from `GetCredentials` for a
 * serverless workgroup, and serve all connections until shortly before the password ends. The user is the IAM identity:
 * `IAM:USER`, or `IAMR:ROLE` for a role, which Redshift makes at its first login. `login.user` is known from the first password
 * on. The password lives as long as Redshift says, whatever becomes of the AWS credentials that asked for it. With `dbUser` it is a
 * user of your choice of a provisioned cluster, from the older `GetClusterCredentials`: `IAM:NAME`, or `IAMA:NAME` with `autoCreate`.
 *
 * `host` is an endpoint name, which names cluster or workgroup and region, or a custom domain name. Port 5439 and database `dev` are
 * the defaults. Redshift's certificates are those of AWS Certificate Manager, which Node trusts:
 * https://docs.aws.amazon.com/redshift/latest/mgmt/connecting-ssl-support.html
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, at once, for options that cannot work.
 * The login's `token()` rejects with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`,
 * `ERR_TOKEN_INVALID` or `ERR_PEER_MISSING`.
 */
export function redshift(options: RedshiftOptions = {}): Login {
  return createRedshift(options, process.env)
}

/** The same with environment and clock as parameters. */
export function createRedshift(given: RedshiftOptions, env: Environment, clock?: Clock): Login {
  const options = checkOptions(given, CHECKS)
  // Nobody who sets PGUSER for other programs means a user of Redshift.
  const common = commonSettings(
    options,
    { ...env, PGUSER: undefined },
    {
      port: 5439,
      database: 'dev',
      reuseTokenSecs: Infinity,
      hostHint: 'the endpoint name of the cluster or workgroup',
    },
  )
  const targets = mapNonEmpty(common.targets, (place) => {
    const target = redshiftTarget(place.host, options)
    return { ...place, ...target, region: awsRegion(target.region, options.region, env) }
  })
  refuseOneNameForSeveral(options, targets.length)
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
      ...(common.reuseTokenSecs === 0 ? {} : { credentials: createTokenInvalidation(clock) }),
    },
    clock,
  )
}

/** How long AWS credentials must still live to ask with them; the password that they bring has a life of its own. */
const REQUEST_MS = 60_000

const noUser: Check<never> = (_value, name) => {
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must not be given: Redshift names the user together with the password`,
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
        hint: 'The user of an IAM identity has the groups and the roles that the database knows it by.',
      })
    }
    return undefined
  }
  if (isServerless) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      '"dbUser" must not be given for a serverless workgroup',
      {
        hint: 'There the user is the IAM identity of the credentials. Who needs another one takes on another role, by "assumeRole".',
      },
    )
  }
  return { user: dbUser, groups: dbGroups, create: autoCreate ?? false }
}

function refuseOneNameForSeveral(
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
    return `The password of IAM for "${user}" was refused. Where "dbUser" is given: that user must exist in the database, or "autoCreate" be true; and check "host" and "clusterIdentifier".`
  return `The password of IAM for "${user}" was refused. It is good for the cluster or workgroup that it was asked for: check "host", and "clusterIdentifier" or "workgroupName".`
}

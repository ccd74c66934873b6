/** Amazon Redshift endpoints: options, users and logins. */
import { PgIamError } from '../../core/errors.js'
import {
  type Check,
  checkOptions,
  invalidOption,
  matching,
  oneOf,
  text,
} from '../../core/options/check.js'
import { redshiftEndpoint as endpointName } from '../../core/providers/host-names.js'
import {
  accessKeyIdCheck,
  createPrincipals,
  nameInArn,
  type PrincipalOptions,
  randomAccessKey,
  roleArn,
  secret,
} from './aws.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  hostList,
  requiredOption,
} from './endpoint.js'
import { createRedshiftPasswords } from './redshift-passwords.js'
import { POSTGRES_ERRORS } from './refusal.js'

/** A cluster or a serverless workgroup, or several. Their passwords are issued at `gateway.awsEndpointUrl`. */
export interface RedshiftEndpoint extends CommonEndpointOptions {
  provider: 'redshift'
  /** Endpoint names, such as `shop.abc….eu-west-1.redshift.amazonaws.com`; or, with `region`, custom domain names. */
  hosts: readonly string[]
  /** The region of hosts whose name does not contain a region. */
  region?: string
  /** The IAM roles that may request passwords. At least one. */
  users: readonly RedshiftUser[]
}

/** An IAM role and its database users. */
export interface RedshiftUser {
  /** The ARN of the role, such as `arn:aws:iam::111122223333:role/alice`. Its database user is `IAMR:alice`. */
  roleArn: string
  /** The claim `sub` of the ID tokens that may assume the role. Needs `webIdentity`. */
  subject?: string
  /** The access key of the role. Default: a generated one, which `gateway.login()` uses. */
  accessKeyId?: string
  secretAccessKey?: string
  /** The database users for which the role may call `GetClusterCredentials`. They log in as `IAM:NAME`, or `IAMA:NAME` with `AutoCreate`. */
  dbUsers?: readonly string[]
}

export const redshiftEndpoint: EndpointDefinition<RedshiftEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    const hosts = requiredOption(given.hosts, `${name}.hosts`)
    const withoutRegion = hosts.find((host) => regionOf(host, given.region) === undefined)
    if (withoutRegion !== undefined)
      throw invalidOption(
        `${name}.region`,
        `given for "${withoutRegion}", whose name contains no region`,
        undefined,
      )
    return {
      ...given,
      provider: 'redshift',
      hosts,
      users: requiredOption(given.users, `${name}.users`),
    }
  },
  roles: ({ users }) => users.flatMap(databaseUsersOf),
  create({ hosts, region, users }, { clock }) {
    const [first, ...others] = users.map(principalOf)
    const principals = createPrincipals([first!, ...others])
    const regions = new Map(hosts.map((host) => [host, regionOf(host, region) ?? '']))
    const { passwords, method } = createRedshiftPasswords({ principals, regions, clock })
    return {
      method,
      errors: POSTGRES_ERRORS,
      roles: users.flatMap(databaseUsersOf),
      principals,
      redshift: passwords,
      loginOptions: { credentials: principals.credentials() },
    }
  },
}

function regionOf(host: string, ofOthers: string | undefined): string | undefined {
  return endpointName(host)?.region ?? ofOthers
}

function databaseUsersOf({ roleArn: arn, dbUsers = [] }: RedshiftUser): string[] {
  return [`IAMR:${nameInArn(arn)}`, ...dbUsers.flatMap((user) => [`IAM:${user}`, `IAMA:${user}`])]
}

function principalOf(user: RedshiftUser): PrincipalOptions {
  const { roleArn: arn, subject, accessKeyId, secretAccessKey } = user
  return {
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? randomAccessKey('AKIA')
      : { accessKeyId, secretAccessKey }),
    roles: databaseUsersOf(user),
    arn,
    ...(subject === undefined ? {} : { subject }),
  }
}

// Validation of the users.

/** PostgreSQL's names have at most 63 bytes, with the prefix. */
const MAX_NAME = 58

const roleOfUser: Check<string> = (value, name) => {
  const arn = roleArn(value, name)
  if (nameInArn(arn).length <= MAX_NAME) return arn
  throw invalidOption(name, `the ARN of a role with a name of at most ${MAX_NAME} characters`, arn)
}

const databaseUser = matching(
  /^(?!public$)[a-z][a-z0-9_+.@-]{0,57}$/i,
  `the name of a database user: 1 to ${MAX_NAME} letters, digits and _+.@-, a letter first`,
)

const databaseUsers: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array of database users', value)
  return [...new Set(value.map((each: unknown, index) => databaseUser(each, `${name}[${index}]`)))]
}

const USER_CHECKS = {
  roleArn: roleOfUser,
  subject: text,
  accessKeyId: accessKeyIdCheck,
  secretAccessKey: secret,
  dbUsers: databaseUsers,
} as const

const user: Check<RedshiftUser> = (value, name) => {
  const given = checkOptions(value, USER_CHECKS, `${name}.`)
  const arn = requiredOption(given.roleArn, `${name}.roleArn`)
  if ((given.accessKeyId === undefined) !== (given.secretAccessKey === undefined))
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}.accessKeyId" and "${name}.secretAccessKey" must be given together`,
      { hint: 'Without both, the gateway generates an access key.' },
    )
  return { ...given, roleArn: arn }
}

const users: Check<readonly RedshiftUser[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one user', value)
  const checked = value.map((item: unknown, index) => user(item, `${name}[${index}]`))
  for (const key of ['roleArn', 'accessKeyId'] as const) {
    const given = checked.map((each) => each[key])
    const twice = given.findIndex(
      (each, index) => each !== undefined && given.indexOf(each) !== index,
    )
    if (twice !== -1)
      throw new PgIamError(
        'ERR_OPTION_CONFLICT',
        `"${name}[${twice}].${key}" must not be the same as that of another user`,
      )
  }
  return checked
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('redshift'),
  // No wildcards: a password is for a cluster, which its name would not contain.
  hosts: hostList(),
  region: matching(/^[a-z]{2,}(-[a-z0-9]+)+$/, 'the name of an AWS region'),
  users,
} as const

/** AWS principals and their credentials, and validation of role names. */
import { randomBytes, randomInt } from 'node:crypto'
import { inspect } from 'node:util'
import { PgIamError } from '../../core/errors.js'
import {
  type Check,
  checkOptions,
  hostName,
  integerWithin,
  invalidOption,
  matching,
  text,
  withoutUndefined,
} from '../../core/options/check.js'
import { createSigner, type Signer } from '../../core/providers/aws/sigv4.js'

export const roleNames: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array of role names', value)
  return [...new Set(value.map((role: unknown, index) => roleName(role, `${name}[${index}]`)))]
}

/** PostgreSQL silently truncates longer names, which could then be names of other roles. */
export const roleName: Check<string> = (value, name) => {
  const role = text(value, name)
  if (Buffer.byteLength(role) > 63) throw invalidOption(name, 'a name of at most 63 bytes', value)
  return role
}

// The IAM principals of the gateway: their access keys, expiry and roles.

export interface Principal {
  readonly accessKeyId: string
  readonly arn: string | undefined
  /** The name of the session, if the credentials are those of an assumed role. */
  readonly sessionName: string | undefined
  readonly roles: ReadonlySet<string>
  /** When temporary credentials expire, in epoch milliseconds. */
  readonly expiresAt: number | undefined
  readonly sessionToken: () => string | undefined
  readonly sign: Signer
}

/** An IAM principal in the options. */
export interface PrincipalOptions {
  accessKeyId: string
  secretAccessKey: string
  /** Only for temporary credentials. */
  sessionToken?: string
  /** The database roles that it may log in as. */
  roles: readonly string[]
  /** Its ARN, such as `arn:aws:iam::111122223333:role/app`, to which `AWS IAM GRANT` can give further roles on Aurora DSQL. */
  arn?: string
  /**
   * The claim `sub` of the ID tokens that may assume the role `arn` at `gateway.awsEndpointUrl`. The role's credentials may then log in as
   * `roles`. Needs `webIdentity`, and the `arn` of a role.
   */
  subject?: string
}

/** What an access key may do, and whose it is. */
interface Identity extends PrincipalOptions {
  sessionName?: string
}

export interface Principals {
  find(accessKeyId: string): Principal | undefined
  wasRevoked(accessKeyId: string): boolean
  add(options: Identity, expiresAt?: number): GatewayCredentials
  /** The database roles of the IAM role that this subject may assume, or `undefined` if it may not. */
  assumable(roleArn: string, subject: string): readonly string[] | undefined
  /** Forgets the temporary credentials that expired before this time, in epoch milliseconds. */
  forgetExpired(before: number): void
  /** Removes the access key. Returns `false` if it is unknown. */
  revoke(accessKeyId: string): boolean
  /** Whether any principal may log in as this role. */
  anyMayUse(role: string): boolean
  /** The credentials of the first principal, even if they have been revoked. */
  credentials(): GatewayCredentials
  /** The roles of the first principal. */
  roles(): readonly string[]
  /** The ARN of the first principal. */
  arn(): string | undefined
}

export function createPrincipals(
  given: readonly [PrincipalOptions, ...PrincipalOptions[]],
): Principals {
  const known = new Map<string, Principal>()
  const revoked = new Set<string>()
  const principals: Principals = {
    find: (accessKeyId) => known.get(accessKeyId),
    wasRevoked: (accessKeyId) => revoked.has(accessKeyId),
    add({ accessKeyId, secretAccessKey, sessionToken, roles, arn, sessionName }, expiresAt) {
      known.set(accessKeyId, {
        accessKeyId,
        arn,
        sessionName,
        roles: new Set(roles),
        expiresAt,
        sessionToken: () => sessionToken,
        sign: createSigner(secretAccessKey),
      })
      revoked.delete(accessKeyId)
      return hiddenCredentials({ accessKeyId, secretAccessKey, sessionToken, expiresAt })
    },
    // Revoking the access key of a principal does not affect its role, as in IAM.
    assumable: (roleArn, subject) =>
      given.find((each) => each.arn === roleArn && each.subject === subject)?.roles,
    forgetExpired(before) {
      for (const [accessKeyId, { expiresAt = Infinity }] of known)
        if (expiresAt < before) known.delete(accessKeyId)
    },
    revoke(accessKeyId) {
      if (!known.delete(accessKeyId)) return false
      revoked.add(accessKeyId)
      return true
    },
    anyMayUse: (role) => [...known.values()].some(({ roles }) => roles.has(role)),
    credentials: () => firstCredentials,
    roles: () => first.roles,
    arn: () => first.arn,
  }
  const [first, ...others] = given
  const firstCredentials = principals.add(first)
  for (const other of others) principals.add(other)
  return principals
}

/** The principals of one endpoint: its own if it has any, else the shared ones. */
export function ownPrincipals(
  own: readonly PrincipalOptions[] | undefined,
  shared: Principals,
): Principals {
  const [first, ...others] = own ?? []
  return first === undefined ? shared : createPrincipals([first, ...others])
}

/** All roles of all principals. */
export function rolesOf(principals: readonly PrincipalOptions[] = []): string[] {
  return principals.flatMap(({ roles }) => roles)
}

/** Generates an access key in the format of AWS: `AKIA` for a permanent one, `ASIA` for a temporary one. */
export function randomAccessKey(prefix: 'AKIA' | 'ASIA'): {
  accessKeyId: string
  secretAccessKey: string
} {
  const id = Array.from({ length: 16 }, () => BASE_32[randomInt(BASE_32.length)]).join('')
  return { accessKeyId: prefix + id, secretAccessKey: randomBytes(30).toString('base64') }
}

/** Generates a session token: base64 text as from STS, with characters that need encoding in a URL. */
export function randomSessionToken(): string {
  return randomBytes(300).toString('base64')
}

const BASE_32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

// Validation of the AWS principals in the options.

export const principalList: Check<readonly PrincipalOptions[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one principal', value)
  const checked = value.map((item: unknown, index) => principal(item, `${name}[${index}]`))
  const keys = checked.map(({ accessKeyId }) => accessKeyId)
  const twice = keys.findIndex((key, index) => keys.indexOf(key) !== index)
  if (twice !== -1) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}[${twice}].accessKeyId" must not be the same as that of another principal`,
    )
  }
  return checked
}

const principal: Check<PrincipalOptions> = (value, name) => {
  const given = checkOptions(
    value,
    {
      accessKeyId: accessKeyIdCheck,
      secretAccessKey: secret,
      sessionToken: secret,
      roles: roleNames,
      arn,
      subject: text,
    },
    `${name}.`,
  )
  const { accessKeyId: id, secretAccessKey, sessionToken, roles, arn: ownArn, subject } = given
  if (id === undefined) throw invalidOption(`${name}.accessKeyId`, 'an access key ID', undefined)
  if (secretAccessKey === undefined) throw missing(`${name}.secretAccessKey`)
  if (roles === undefined) throw invalidOption(`${name}.roles`, 'an array of role names', undefined)
  if (subject !== undefined) roleArn(ownArn, `${name}.arn`)
  return {
    accessKeyId: id,
    secretAccessKey,
    roles,
    ...(sessionToken === undefined ? {} : { sessionToken }),
    ...(ownArn === undefined ? {} : { arn: ownArn }),
    ...(subject === undefined ? {} : { subject }),
  }
}

const arn: Check<string> = (value, name) => {
  if (typeof value === 'string' && /^arn:aws[a-z-]*:iam::\d{12}:(?:role|user)\/.+$/.test(value))
    return value
  throw invalidOption(name, 'the ARN of an IAM role or user', value)
}

/** The ARN of a role. Its name has the characters that IAM allows. */
export const roleArn: Check<string> = matching(
  /^arn:aws[a-z-]*:iam::\d{12}:role\/(?:[\u0021-\u007e]+\/)?[\w+=,.@-]{1,64}$/,
  'the ARN of an IAM role',
)

/** The name of a role or a user: the last part of its ARN, without its path. */
export function nameInArn(ofIdentity: string): string {
  return ofIdentity.slice(ofIdentity.lastIndexOf('/') + 1)
}

export const accessKeyIdCheck: Check<string> = (value, name) => {
  // AWS's access key IDs have 16 to 128 of these characters. Invented ones may be shorter.
  if (typeof value !== 'string' || !/^\w{1,128}$/.test(value))
    throw invalidOption(name, 'an access key ID of letters, digits and underscores', value)
  return value
}

export const secret: Check<string> = (value, name) => {
  if (typeof value !== 'string' || value === '') throw missing(name)
  return value
}

/** Does not print the value, because it may contain the secret, such as in an array. */
function missing(name: string): PgIamError {
  return new PgIamError('ERR_OPTION_INVALID', `"${name}" must be a non-empty string`)
}

// AWS credentials that the gateway issues. Their secrets are hidden from everything that prints objects.

/**
 * Credentials that the gateway accepts, in the form that the AWS SDK accepts. The secret properties are readable but not
 * enumerable: they do not appear in `util.inspect`, in JSON, or in a copy made with the spread operator.
 */
export interface GatewayCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

/** Temporary credentials, as issued by AWS STS. */
export interface TemporaryCredentials extends GatewayCredentials {
  readonly sessionToken: string
  readonly expiration: Date
}

interface PlainCredentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken: string | undefined
  expiresAt: number | undefined
}

function hiddenCredentials(plain: PlainCredentials): GatewayCredentials {
  const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = plain
  const visible = {
    accessKeyId,
    ...(expiresAt === undefined ? {} : { expiration: new Date(expiresAt) }),
  }
  // Getters, because `util.inspect` with `showHidden` prints the values of non-enumerable properties. Not frozen, because the AWS
  // SDK adds a property to the credentials that it receives.
  return Object.defineProperties(visible, {
    secretAccessKey: { get: () => secretAccessKey },
    ...(sessionToken === undefined ? {} : { sessionToken: { get: () => sessionToken } }),
    [inspect.custom]: { value: () => `GatewayCredentials { ${accessKeyId} }` },
  }) as GatewayCredentials
}

// Temporary credentials, as issued by AWS STS.

export interface IssueOptions {
  /** A host name of the endpoint, for endpoints with their own principals. Default: the first AWS endpoint. */
  host?: string
  /** The database roles that they may log in as. Default: the roles of the endpoint's first principal. */
  roles?: readonly string[]
  /** The lifetime in seconds, from 1 to 129,600 (36 hours, the limit of STS). Default 3,600. */
  durationSecs?: number
}

/** @param principalsOf returns the principals of the endpoint with this host, or of the first endpoint; `undefined` if there are none */
export function issueTemporaryCredentials(
  principalsOf: (host: string | undefined) => Principals | undefined,
  clock: () => number,
  options: IssueOptions,
): TemporaryCredentials {
  const {
    host,
    roles,
    durationSecs = 3_600,
  } = checkOptions(options, {
    host: hostName,
    roles: roleNames,
    durationSecs: integerWithin(1, 129_600, 'seconds'),
  })
  const principals = principalsOf(host)
  if (principals === undefined)
    throw invalidOption('host', 'a host of one of the AWS endpoints of this gateway', host)
  const identity = {
    ...randomAccessKey('ASIA'),
    sessionToken: randomSessionToken(),
    roles: roles ?? principals.roles(),
    // Other roles than those of the principal are those of nobody in particular.
    ...(roles === undefined ? withoutUndefined({ arn: principals.arn() }) : {}),
  }
  return principals.add(identity, clock() + durationSecs * 1000) as TemporaryCredentials
}

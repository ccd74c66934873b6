/** Checks of the names of database roles. */
import { randomBytes, randomInt } from 'node:crypto'
import { inspect } from 'node:util'
import { PgIamError } from '../../core/errors.js'
import {
  type Check,
  checkOptions,
  hostName,
  integerWithin,
  invalidOption,
  text,
} from '../../core/options/check.js'
import { createSigner, type Signer } from '../../core/providers/aws/sigv4.js'

export const roleNames: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array of role names', value)
  return [...new Set(value.map((role: unknown, index) => roleName(role, `${name}[${index}]`)))]
}

/** PostgreSQL cuts longer names without a word, and then they are names of other roles. */
export const roleName: Check<string> = (value, name) => {
  const role = text(value, name)
  if (Buffer.byteLength(role) > 63) throw invalidOption(name, 'a name of at most 63 bytes', value)
  return role
}

// The IAM principals that the gateway knows: whose access keys, valid until when, allowed to use which roles.

export interface Principal {
  readonly accessKeyId: string
  readonly roles: ReadonlySet<string>
  /** When temporary credentials end, in epoch milliseconds. */
  readonly expiresAt: number | undefined
  readonly sessionToken: () => string | undefined
  readonly sign: Signer
}

/** An IAM principal as the caller gives it. */
export interface PrincipalOptions {
  accessKeyId: string
  secretAccessKey: string
  /** Only for temporary credentials. */
  sessionToken?: string
  /** The database roles that it may log in as. */
  roles: readonly string[]
}

export interface Principals {
  find(accessKeyId: string): Principal | undefined
  wasRevoked(accessKeyId: string): boolean
  add(options: PrincipalOptions, expiresAt?: number): GatewayCredentials
  /** Forgets the access key. Returns `false` for one that was not known. */
  revoke(accessKeyId: string): boolean
  /** Whether there is a principal that may log in as this role. */
  anyMayUse(role: string): boolean
  /** The credentials of the first principal; it is always there, though it may be revoked. */
  credentials(): GatewayCredentials
  /** The roles of the first principal. */
  roles(): readonly string[]
}

export function createPrincipals(
  given: readonly [PrincipalOptions, ...PrincipalOptions[]],
): Principals {
  const known = new Map<string, Principal>()
  const revoked = new Set<string>()
  const principals: Principals = {
    find: (accessKeyId) => known.get(accessKeyId),
    wasRevoked: (accessKeyId) => revoked.has(accessKeyId),
    add({ accessKeyId, secretAccessKey, sessionToken, roles }, expiresAt) {
      known.set(accessKeyId, {
        accessKeyId,
        roles: new Set(roles),
        expiresAt,
        sessionToken: () => sessionToken,
        sign: createSigner(secretAccessKey),
      })
      revoked.delete(accessKeyId)
      return hiddenCredentials({ accessKeyId, secretAccessKey, sessionToken, expiresAt })
    },
    revoke(accessKeyId) {
      if (!known.delete(accessKeyId)) return false
      revoked.add(accessKeyId)
      return true
    },
    anyMayUse: (role) => [...known.values()].some(({ roles }) => roles.has(role)),
    credentials: () => firstCredentials,
    roles: () => first.roles,
  }
  const [first, ...others] = given
  const firstCredentials = principals.add(first)
  for (const other of others) principals.add(other)
  return principals
}

/** The principals of one endpoint: its own, else those that it shares with all others. */
export function ownPrincipals(
  own: readonly PrincipalOptions[] | undefined,
  shared: Principals,
): Principals {
  const [first, ...others] = own ?? []
  return first === undefined ? shared : createPrincipals([first, ...others])
}

/** All roles that one of the principals may log in as. */
export function rolesOf(principals: readonly PrincipalOptions[] = []): string[] {
  return principals.flatMap(({ roles }) => roles)
}

/** Makes up an access key that looks like AWS's: `AKIA` for a permanent one, `ASIA` for a temporary one. */
export function randomAccessKey(prefix: 'AKIA' | 'ASIA'): {
  accessKeyId: string
  secretAccessKey: string
} {
  const id = Array.from({ length: 16 }, () => BASE_32[randomInt(BASE_32.length)]).join('')
  return { accessKeyId: prefix + id, secretAccessKey: randomBytes(30).toString('base64') }
}

/** Makes up a session token: base64 text, as STS gives, with the characters that need encoding in a URL. */
function randomSessionToken(): string {
  return randomBytes(300).toString('base64')
}

const BASE_32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

// Checks of the AWS principals that are given to a gateway.

export const principalList: Check<readonly PrincipalOptions[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one principal', value)
  const checked = value.map((item: unknown, index) => principal(item, `${name}[${index}]`))
  const keys = checked.map(({ accessKeyId }) => accessKeyId)
  const twice = keys.findIndex((key, index) => keys.indexOf(key) !== index)
  if (twice !== -1) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}[${twice}].accessKeyId" must not be that of another principal`,
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
    },
    `${name}.`,
  )
  const { accessKeyId: id, secretAccessKey, sessionToken, roles } = given
  if (id === undefined) throw invalidOption(`${name}.accessKeyId`, 'an access key ID', undefined)
  if (secretAccessKey === undefined) throw missing(`${name}.secretAccessKey`)
  if (roles === undefined) throw invalidOption(`${name}.roles`, 'an array of role names', undefined)
  return {
    accessKeyId: id,
    secretAccessKey,
    roles,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
}

const accessKeyIdCheck: Check<string> = (value, name) => {
  // AWS's own have 16 to 128 of these characters; made-up ones may be shorter.
  if (typeof value !== 'string' || !/^\w{1,128}$/.test(value))
    throw invalidOption(name, 'an access key ID of letters, digits and underscores', value)
  return value
}

const secret: Check<string> = (value, name) => {
  if (typeof value !== 'string' || value === '') throw missing(name)
  return value
}

/** Does not show what came: it may be the secret, with one bracket too many. */
function missing(name: string): PgIamError {
  return new PgIamError('ERR_OPTION_INVALID', `"${name}" must be a non-empty string`)
}

// AWS credentials that a gateway gives out, kept out of everything that prints objects.

/**
 * Credentials that the gateway accepts, usable wherever the AWS SDK takes credentials. The secret parts are readable but
 * hidden: they do not appear in `util.inspect`, in JSON, or in a copy made with the spread operator.
 */
export interface GatewayCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

/** Temporary credentials, such as STS gives. */
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
  // Getters, because `util.inspect` with `showHidden` prints the values of non-enumerable properties. Not frozen, because
  // the SDK marks the credentials that it is given with a property of its own.
  return Object.defineProperties(visible, {
    secretAccessKey: { get: () => secretAccessKey },
    ...(sessionToken === undefined ? {} : { sessionToken: { get: () => sessionToken } }),
    [inspect.custom]: { value: () => `GatewayCredentials { ${accessKeyId} }` },
  }) as GatewayCredentials
}

// Temporary credentials, as STS gives them.

export interface IssueOptions {
  /** An endpoint by one of its host names, where endpoints have principals of their own. Default: the first of AWS's. */
  host?: string
  /** The database roles that they may log in as. Default: those of the endpoint's first principal. */
  roles?: readonly string[]
  /** How long they are valid, in seconds, from 1 to 129,600 (36 hours, STS's limit). Default 3,600. */
  durationSecs?: number
}

/** @param principalsOf the principals of the endpoint with this host, or of the first; `undefined` where it has none */
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
  }
  return principals.add(identity, clock() + durationSecs * 1000) as TemporaryCredentials
}

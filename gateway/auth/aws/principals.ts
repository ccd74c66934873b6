/** The IAM principals that the gateway knows: whose access keys, valid until when, allowed to use which roles. */
import { randomBytes, randomInt } from 'node:crypto'
import { createSigner, type Signer } from '../../../core/providers/aws/sigv4.js'
import { hiddenCredentials, type GatewayCredentials } from './gateway-credentials.js'

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
export function randomSessionToken(): string {
  return randomBytes(300).toString('base64')
}

const BASE_32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** The temporary passwords of a Redshift endpoint: issued through the gateway's API, and verified at the login. */
import { randomBytes } from 'node:crypto'
import { redshiftEndpoint } from '../../core/providers/host-names.js'
import type { Principals } from './aws.js'
import { md5Answered, md5Hash } from './md5.js'
import { fatal, type RefusalReason } from './refusal.js'
import { accepted, denied, type LoginMethod, type LoginRequest, type Verdict } from './verifier.js'

/** What a request for a password names: a cluster, a workgroup, or a custom domain name. */
export interface RedshiftTarget {
  readonly kind: 'cluster' | 'workgroup'
  readonly region: string
  /** The cluster identifier, or the name of the workgroup. */
  readonly name: string | undefined
  readonly customDomain: string | undefined
}

/** Who gets a password, and for what. */
export interface PasswordRequest {
  readonly user: string
  /** The only database that it is valid for; `undefined` for any. */
  readonly database: string | undefined
  readonly host: string
  /** The access key that requested it. */
  readonly accessKeyId: string
  readonly durationSecs: number
}

export interface RedshiftPasswords {
  /** The roles whose passwords it issues. */
  readonly principals: Principals
  /** The host of a target, or `undefined` if it is none of this endpoint. */
  hostOf(target: RedshiftTarget): string | undefined
  /** Returns `undefined` if the user has too many passwords already. */
  issue(
    request: PasswordRequest,
  ): { readonly password: string; readonly expiresAt: number } | undefined
}

interface PasswordsSettings {
  readonly principals: Principals
  /** The hosts with their regions. */
  readonly regions: ReadonlyMap<string, string>
  /** Epoch milliseconds. */
  readonly clock: () => number
}

interface IssuedPassword extends Omit<PasswordRequest, 'user' | 'durationSecs'> {
  /** The password as `md5...`: it need not be stored itself. */
  readonly stored: string
  readonly expiresAt: number
}

/** Returns the passwords, and the login method that accepts them. */
export function createRedshiftPasswords({ principals, regions, clock }: PasswordsSettings): {
  readonly passwords: RedshiftPasswords
  readonly method: LoginMethod
} {
  const issued = new Map<string, readonly IssuedPassword[]>()
  const passwords: RedshiftPasswords = {
    principals,
    hostOf: (target) =>
      [...regions].find(
        ([host, region]) => region === target.region && isHostOf(host, target),
      )?.[0],
    issue({ user, durationSecs, ...rest }) {
      const now = clock()
      // Whole seconds, as AWS answers.
      const expiresAt = Math.floor(now / 1_000 + durationSecs) * 1_000
      const kept = (issued.get(user) ?? []).filter((each) => each.expiresAt > now - REMEMBERED_MS)
      if (kept.filter((each) => each.expiresAt > now).length >= MAX_PASSWORDS) return undefined
      const password = randomBytes(96).toString('base64')
      issued.set(user, [...kept, { ...rest, stored: md5Hash(password, user), expiresAt }])
      return { password, expiresAt }
    },
  }
  return {
    passwords,
    // Redshift asks for MD5, as in https://github.com/aws/amazon-redshift-jdbc-driver/issues/21. With it, several passwords can be valid.
    method: md5Answered((request, isFrom) => {
      const ofUser = issued.get(request.role) ?? []
      const used = ofUser.find(({ stored }) => isFrom(stored))
      if (used !== undefined) return verdictOf(used, request, { regions, now: clock() })
      return ofUser.length === 0
        ? refused('password-unknown', 'no password was issued for this user', request)
        : refused('password-wrong', 'the password was not issued for this user', request)
    }),
  }
}

/** More are throttled, as by AWS. Each login is compared with all of them. */
const MAX_PASSWORDS = 1_000
/** How long an expired password is remembered, so that the refusal can say that it has expired. */
const REMEMBERED_MS = 3_600_000

function isHostOf(host: string, { kind, name, customDomain }: RedshiftTarget): boolean {
  const endpoint = redshiftEndpoint(host)
  return endpoint === undefined
    ? host === customDomain
    : endpoint.kind === kind && endpoint.name === name
}

function verdictOf(
  { host, database, stored, expiresAt, accessKeyId }: IssuedPassword,
  request: LoginRequest,
  { regions, now }: { regions: PasswordsSettings['regions']; now: number },
): Verdict {
  if (now >= expiresAt)
    return refused(
      'token-expired',
      `the password expired at ${new Date(expiresAt).toISOString()}`,
      request,
    )
  // A local client may connect to "localhost", but not to one cluster with a password for another.
  const dialled = request.servername?.toLowerCase()
  if (dialled !== undefined && regions.has(dialled) && dialled !== host)
    return refused(
      'host-wrong',
      `the password is for ${host}, but the client connected to ${dialled}`,
      request,
    )
  if (database !== undefined && database !== request.database)
    return refused('database-wrong', 'the password is for another database', request)
  return accepted(accessKeyId, { fingerprint: stored, expiresAt })
}

/** Redshift's error, whose SQLSTATE is that of PostgreSQL 8: https://github.com/aws/amazon-redshift-python-driver/issues/237 */
function refused(reason: RefusalReason, explanation: string, { role }: LoginRequest): Verdict {
  const told = fatal('28000', `password authentication failed for user "${role}"`)
  return denied(reason, explanation, told)
}

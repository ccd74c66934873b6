/** The only place that says how TLS is done: always, and always verified for the host that the token is for. */
import { PgIamError } from '../errors.js'
import {
  checkOptions,
  hostName,
  invalidOption,
  isPlainObject,
  oneOf,
  type Check,
} from '../options/check.js'
import { certificateAuthority } from './certificate-authority.js'

/**
 * Verified TLS, in the words that `node:tls` and every driver understand. There is no way to turn verification off.
 */
export interface VerifiedTls {
  readonly rejectUnauthorized: true
  /** PEM text of the certificate authorities to trust; those of Node and of the cloud when not given. */
  readonly ca?: string
  /** The name that the server's certificate must carry, also sent as SNI. */
  readonly servername: string
  readonly minVersion: TlsVersion
  /** Default: the newest that both sides know. */
  readonly maxVersion?: TlsVersion
}

/** The versions that a token may be sent over. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

/** How TLS starts: after PostgreSQL's own request (`postgres`), or with the first byte (`direct`, PostgreSQL 17 and Aurora DSQL). */
export type TlsNegotiation = 'postgres' | 'direct'

export interface TlsOptions {
  /**
   * PEM text, or the path of a PEM file, with the certificate authorities to trust. Default: those that Node trusts, and those that
   * the documentation of the cloud names, which Node may not ship any more.
   */
  ca?: string
  /** The name that the server's certificate must carry. Default: `host`. */
  servername?: string
  /** Default `'postgres'`. */
  negotiation?: TlsNegotiation
  /** The oldest version to accept. Default `'TLSv1.2'`, which is also the oldest that can be given. */
  minVersion?: TlsVersion
  /** The newest version to offer. Default: that of Node. */
  maxVersion?: TlsVersion
}

/** Checks a `tls` option, refusing with `ERR_TLS_UNVERIFIED` whatever would turn verification off. */
export const tlsOptions: Check<TlsOptions> = (value, name) => {
  if (weakens(value)) throw unverified(name)
  if (!isPlainObject(value)) throw invalidOption(name, 'an object such as { ca }', value)
  const { rejectUnauthorized: _verified, ...rest } = value
  const checked = checkOptions(
    rest,
    {
      ca: certificateAuthority,
      servername: hostName,
      negotiation: oneOf('postgres', 'direct'),
      minVersion: oldestVersion,
      maxVersion: newestVersion,
    },
    `${name}.`,
  )
  refuseNoVersion(checked, `${name}.`)
  return checked
}

/** The oldest version to accept. Whoever takes older ones, too, gets no older one than `TLSv1.2`. */
export const oldestVersion: Check<TlsVersion> = (value, name) =>
  value === 'TLSv1' || value === 'TLSv1.1' ? 'TLSv1.2' : oneOf('TLSv1.2', 'TLSv1.3')(value, name)

/** The newest version to offer. */
export const newestVersion: Check<TlsVersion> = oneOf('TLSv1.2', 'TLSv1.3')

/** Throws `ERR_OPTION_CONFLICT` where no version is left. */
export function refuseNoVersion(
  { minVersion, maxVersion }: Pick<TlsOptions, 'minVersion' | 'maxVersion'>,
  prefix: string,
): void {
  if (minVersion !== 'TLSv1.3' || maxVersion !== 'TLSv1.2') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${prefix}minVersion" must not be newer than "${prefix}maxVersion"`,
  )
}

/** Tells whether an `ssl` or `tls` value of any client would leave TLS out or the certificate unchecked. */
export function weakens(value: unknown): boolean {
  if (value === false) return true
  if (typeof value === 'string') return WEAK_WORDS.includes(value)
  if (!isPlainObject(value)) return false
  const { rejectUnauthorized } = value
  return (
    (rejectUnauthorized !== undefined && rejectUnauthorized !== true) ||
    value['checkServerIdentity'] !== undefined
  )
}

/** Postgres.js verifies nothing for the first ones; the last ones come out of URLs. */
const WEAK_WORDS = ['disable', 'allow', 'prefer', 'require', 'no-verify', 'false', '0', 'off', 'no']

/** The error for a setting that would send a token where nobody checked who listens. */
export function unverified(name: string): PgIamError {
  return new PgIamError(
    'ERR_TLS_UNVERIFIED',
    `"${name}" must not turn TLS or its verification off`,
    {
      hint: "A token is a password, so TLS is always on and always verified. Leave this out; where the server's certificate is not trusted, give the authority that signed it as tls: { ca }.",
    },
  )
}

export function verifiedTls(host: string, options: TlsOptions): VerifiedTls {
  const { ca, servername = host, minVersion = 'TLSv1.2', maxVersion } = options
  return Object.freeze({
    rejectUnauthorized: true,
    servername,
    minVersion,
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(ca === undefined ? {} : { ca }),
  } as const)
}

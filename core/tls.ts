/** Verified TLS: options, certificate authorities, and certificate errors. */
import { PgIamError } from './errors.js'
import {
  type Check,
  checkOptions,
  hostName,
  invalidOption,
  isPlainObject,
  oneOf,
  type Environment,
  presentIn,
} from './options/check.js'

/** Verified TLS, as options for `node:tls` and every driver. Verification cannot be turned off. */
export interface VerifiedTls {
  readonly rejectUnauthorized: true
  /** The certificate authorities to trust, as PEM text. Default: those of Node and of the cloud. */
  readonly ca?: string
  /** The name that the server's certificate must match, also sent as SNI. */
  readonly servername: string
  readonly minVersion: TlsVersion
  /** Default: the newest version that both sides support. */
  readonly maxVersion?: TlsVersion
}

/** The TLS versions allowed for sending a token. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

/** How TLS starts: after an SSLRequest (`postgres`), or immediately (`direct`, PostgreSQL 17 and Aurora DSQL). */
export type TlsNegotiation = 'postgres' | 'direct'

export interface TlsOptions {
  /**
   * The certificate authorities to trust, as PEM text or the path of a PEM file. Default: those that Node trusts, and those that the
   * cloud's documentation names, since Node may no longer ship them.
   */
  ca?: string
  /** The name that the server's certificate must match. Default: `host`. */
  servername?: string
  /** Default: `'direct'` for Aurora DSQL, `'postgres'` for the others. PostgreSQL supports `'direct'` since version 17. */
  negotiation?: TlsNegotiation
  /** The minimum version. Default `'TLSv1.2'`, which is also the lowest allowed value. */
  minVersion?: TlsVersion
  /** The maximum version. Default: Node's. */
  maxVersion?: TlsVersion
}

/** Checks a `tls` option. Throws `ERR_TLS_UNVERIFIED` for any value that would turn verification off. */
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

/** The minimum version. Versions below `TLSv1.2` are raised to `TLSv1.2`. */
export const oldestVersion: Check<TlsVersion> = (value, name) =>
  value === 'TLSv1' || value === 'TLSv1.1' ? 'TLSv1.2' : oneOf('TLSv1.2', 'TLSv1.3')(value, name)

/** The maximum version. */
export const newestVersion: Check<TlsVersion> = oneOf('TLSv1.2', 'TLSv1.3')

/** Throws `ERR_OPTION_CONFLICT` if the range is empty. */
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

/** Whether an `ssl` or `tls` option of any client would disable TLS or its verification. */
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

/** The values of libpq's `sslmode` that require TLS. pg-iam verifies the server with each of them. */
export const SSL_MODES: readonly string[] = ['require', 'verify-ca', 'verify-full']

/** Postgres.js does not verify certificates for the first four; the others occur in URLs. */
const WEAK_WORDS = ['disable', 'allow', 'prefer', 'require', 'no-verify', 'false', '0', 'off', 'no']

/** The error for a setting that would send a token over unverified TLS. */
export function unverified(name: string): PgIamError {
  return new PgIamError(
    'ERR_TLS_UNVERIFIED',
    `"${name}" must not turn TLS or its verification off`,
    {
      hint: "Remove this setting: a token is a password, so TLS is always on and verified. If the server's certificate is not trusted, give its certificate authority as tls: { ca }.",
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

// Certificate authorities, given as PEM text or as the path of a PEM file.

/** Returns the PEM text, read from the file if `value` is a path. Every certificate in it must be readable. */
export const certificateAuthority: Check<string> = (value, name) => {
  const given = Buffer.isBuffer(value) ? value.toString('utf8') : value
  if (typeof given !== 'string' || given === '') throw invalidOption(name, EXPECTED, value)
  const pem = given.includes('-----BEGIN') ? given : readPem(given, name)
  const begun = pem.split(BEGIN).length - 1
  if (begun === 0) throw invalidOption(name, EXPECTED, value)
  // OpenSSL silently stops at the first malformed certificate. Connections would then fail much later, with an untrusted certificate.
  const whole = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (whole.length < begun) throw unreadable(name)
  // Loaded on use, not at import: loading takes milliseconds, and few logins need it.
  const { X509Certificate } = process.getBuiltinModule('node:crypto')
  try {
    for (const certificate of whole) void new X509Certificate(certificate)
  } catch (cause) {
    throw unreadable(name, { cause })
  }
  return pem
}

const BEGIN = '-----BEGIN CERTIFICATE-----'
const EXPECTED = 'PEM text or the path of a PEM file'

function unreadable(name: string, options: { cause?: unknown } = {}): PgIamError {
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" contains a certificate that cannot be parsed`,
    options,
  )
}

function readPem(path: string, name: string): string {
  try {
    // Loaded on use, not at import: importing `node:fs` in an ES module also loads its streams and promises.
    return process.getBuiltinModule('node:fs').readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"${name}" must be ${EXPECTED}, and the file could not be read`,
      { cause },
    )
  }
}

// Certificate errors, as Node reports them.

/** Whether the certificate is not signed by a trusted CA. */
export function isUntrustedCertificate(error: unknown): boolean {
  return UNTRUSTED.has(codeOf(error))
}

/** Whether the certificate does not match the host name. */
export function isWrongCertificate(error: unknown): boolean {
  return codeOf(error) === 'ERR_TLS_CERT_ALTNAME_INVALID'
}

/**
 * Returns a hint for a certificate that is not signed by a trusted CA, or `undefined` for any other error.
 *
 * @param named the cloud's CAs that are trusted in addition to Node's, if any
 */
export function explainUntrusted(error: unknown, host: string, named?: string): string | undefined {
  if (!isUntrustedCertificate(error)) return undefined
  const trusted = named === undefined ? "only Node's CAs are" : `Node's CAs and ${named} are`
  return `The certificate of ${host} is signed by an untrusted CA. Give that CA as tls: { ca: 'PATH' }. Without tls.ca, ${trusted} trusted.`
}

/** OpenSSL's error names, as in Node's `error.code`. */
const UNTRUSTED: ReadonlySet<unknown> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code
}

// The certificate authorities that are trusted by default.

/**
 * Loads the CAs to trust for a cloud whose documentation names the certificates `named`. Resolves with `undefined`, for Node's default CAs,
 * if Node ships all of them, otherwise with PEM text of the default CAs and of `named`.
 *
 * Node removes CAs in minor versions, when browsers do. Servers may still use their certificates then.
 */
export async function cloudAuthorities(
  named: readonly string[],
  env: Environment,
  shipped?: readonly string[],
): Promise<string | undefined> {
  const ships = new Set((shipped ?? (await loadTls()).rootCertificates).map(withoutBreaks))
  return named.every((pem) => ships.has(withoutBreaks(pem)))
    ? undefined
    : trustedAuthorities(named, env)
}

/**
 * Resolves with PEM text of `own` and of all CAs that Node trusts by default, including the effects of `NODE_EXTRA_CA_CERTS`,
 * `--use-system-ca`, `--use-openssl-ca` and `tls.setDefaultCACertificates()`. The text of some 300 kB is cached for all logins.
 */
export async function trustedAuthorities(
  own: readonly string[],
  env: Environment,
): Promise<string> {
  const { rootCertificates, getCACertificates } = await loadTls()
  const defaults = getCACertificates?.('default') ?? rootCertificates
  const extraFile = presentIn(env, 'NODE_EXTRA_CA_CERTS')
  const known = keptAuthorities.get(own)
  if (known?.defaults === defaults && known.extraFile === extraFile) return known.pem
  const all = new Set([...own, ...defaults, ...certificatesIn(extraFile)])
  const pem = [...all].join('\n')
  keptAuthorities.set(own, { defaults, extraFile, pem })
  return pem
}

const keptAuthorities = new WeakMap<
  readonly string[],
  { defaults: readonly string[]; extraFile: string | undefined; pem: string }
>()

/** Loaded on use, not at import: loading takes longer than the whole core. `getCACertificates` exists since Node 22.15. */
async function loadTls(): Promise<
  typeof import('node:tls') & { getCACertificates?: (type: 'default') => readonly string[] }
> {
  return import('node:tls')
}

/** Before 22.15 Node does not expose the certificates of this file. Node itself warns if the file cannot be read. */
function certificatesIn(path: string | undefined): readonly string[] {
  if (path === undefined) return []
  try {
    return [process.getBuiltinModule('node:fs').readFileSync(path, 'utf8')]
  } catch {
    return []
  }
}

function withoutBreaks(pem: string): string {
  return pem.replaceAll(/\s/g, '')
}

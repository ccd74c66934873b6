/** TLS whose server is verified: the options, the certificate authorities, and errors of certificates. */
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

// Certificate authorities, given as PEM text or as the path of a PEM file.

/** Returns the PEM text, read from a file where a path came, once it was seen to hold a readable certificate. */
export const certificateAuthority: Check<string> = (value, name) => {
  const given = Buffer.isBuffer(value) ? value.toString('utf8') : value
  if (typeof given !== 'string' || given === '') throw invalidOption(name, EXPECTED, value)
  const pem = given.includes('-----BEGIN') ? given : readPem(given, name)
  const begun = pem.split(BEGIN).length - 1
  if (begun === 0) throw invalidOption(name, EXPECTED, value)
  // OpenSSL stops at the first certificate that it cannot read, without a word, and then trusts nobody, much later.
  const whole = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (whole.length < begun) throw unreadable(name)
  // Not at import: to load it takes milliseconds, and few give authorities.
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
    `"${name}" holds a certificate that cannot be read`,
    options,
  )
}

function readPem(path: string, name: string): string {
  try {
    // Not at import: an ES module that imports `node:fs` loads its streams and promises, too.
    return process.getBuiltinModule('node:fs').readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"${name}" must be ${EXPECTED}, and no file could be read there`,
      { cause },
    )
  }
}

// What Node says of a server's certificate.

/** Tells whether nobody who is trusted has signed it. */
export function isUntrustedCertificate(error: unknown): boolean {
  return UNTRUSTED.has(codeOf(error))
}

/** Tells whether it is the certificate of another server. */
export function isWrongCertificate(error: unknown): boolean {
  return codeOf(error) === 'ERR_TLS_CERT_ALTNAME_INVALID'
}

/**
 * Returns what to do about a server whose certificate nobody who is trusted has signed, or `undefined` for another kind of error.
 *
 * @param named the authorities of the cloud that are trusted beside Node's, where there are some
 */
export function explainUntrusted(error: unknown, host: string, named?: string): string | undefined {
  if (!isUntrustedCertificate(error)) return undefined
  const trusted = named === undefined ? "Node's are" : `Node's and ${named} are`
  return `The certificate of ${host} was signed by an authority that is not trusted here. Give that authority as tls: { ca: 'PATH' }; without tls.ca ${trusted} trusted.`
}

/** OpenSSL's words, as Node has them in `error.code`. */
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

// The certificate authorities that are trusted where the caller names none.

/**
 * Loads the authorities to trust for a cloud, whose documentation names `named`: resolves with `undefined` where Node ships them all,
 * for those that Node trusts by default; else with PEM text of these and of `named`.
 *
 * Node drops authorities in minor versions, when browsers do. Servers are not always replaced by then.
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
 * Resolves with PEM text of `own` and of all that Node trusts by default, with what `NODE_EXTRA_CA_CERTS`, `--use-system-ca`,
 * `--use-openssl-ca` and `tls.setDefaultCACertificates()` add and replace. It is some 300 kB, and kept for all logins.
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

/** Not at import: to load it takes longer than all of the core. `getCACertificates` is there from Node 22.15 on. */
async function loadTls(): Promise<
  typeof import('node:tls') & { getCACertificates?: (type: 'default') => readonly string[] }
> {
  return import('node:tls')
}

/** Before 22.15 Node does not say what it has read of the file. It warns where it cannot read it. */
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

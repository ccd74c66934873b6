/** What Node says of a server's certificate. */

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

/** Certificate authorities, given as PEM text or as the path of a PEM file. */
import { PgIamError } from '../errors.js'
import { invalidOption, type Check } from '../options/check.js'

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

/** Certificate authorities, given as PEM text or as the path of a PEM file. */
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { PgIamError } from '../errors.js'
import { invalidOption, type Check } from '../options/check.js'

/** Returns the PEM text, read from a file where a path came, once it was seen to hold a readable certificate. */
export const certificateAuthority: Check<string> = (value, name) => {
  const given = Buffer.isBuffer(value) ? value.toString('utf8') : value
  if (typeof given !== 'string' || given === '') throw invalidOption(name, EXPECTED, value)
  const pem = given.includes('-----BEGIN') ? given : readPem(given, name)
  // OpenSSL takes a text without any certificate for an empty list, and then trusts nobody, much later.
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw invalidOption(name, EXPECTED, value)
  try {
    createSecureContext({ ca: pem })
  } catch (cause) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"${name}" holds a certificate that cannot be read`,
      { cause },
    )
  }
  return pem
}

const EXPECTED = 'PEM text or the path of a PEM file'

function readPem(path: string, name: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const error = new PgIamError(
      'ERR_OPTION_INVALID',
      `"${name}" must be ${EXPECTED}, and no file could be read there`,
      { cause },
    )
    throw error
  }
}

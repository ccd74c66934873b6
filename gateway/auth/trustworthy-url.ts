/** Addresses at which an issuer of tokens may be asked. */
import { invalidOption, type Check } from '../../core/options/check.js'

/** What comes over plain HTTP could be anybody's, unless it comes from this machine. */
export function isTrustworthyUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname))
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/

/** The address of an issuer, as an option. */
export const trustworthyUrl: Check<string> = (value, name) => {
  if (typeof value === 'string' && isTrustworthyUrl(value)) return value
  throw invalidOption(name, 'an https URL, or an http one of this machine', value)
}

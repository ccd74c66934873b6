/** Tells addresses from names. */

/**
 * Whether a host is an IP address, of version 4 or 6.
 *
 * `node:net` is asked, and loaded, for what looks like one only: a login is made while a process starts, that takes milliseconds,
 * and `isIP` takes five more for its first answer about a name.
 */
export function isIpAddress(host: string): boolean {
  return LOOKS_LIKE_ONE.test(host) && process.getBuiltinModule('node:net').isIP(host) !== 0
}

const LOOKS_LIKE_ONE = /^[\d.]+$|:/

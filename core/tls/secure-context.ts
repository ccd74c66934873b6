/** The part of TLS settings that is slow to make, kept for the next connection. */
import { createSecureContext, type SecureContext } from 'node:tls'
import type { VerifiedTls } from './verified-tls.js'

/** More than a process has authorities, and few enough to keep. */
const MOST_KEPT = 16

const kept = new Map<string, SecureContext>()

/**
 * Returns the context that trusts the authorities of `tls`, and makes it once for each of them. To read Amazon's bundle for RDS
 * and those of Node takes tens of milliseconds, in which the process does nothing else.
 */
export function secureContext({ ca, minVersion, maxVersion }: VerifiedTls): SecureContext {
  const versions = { minVersion, ...(maxVersion === undefined ? {} : { maxVersion }) }
  // Node keeps its own authorities itself.
  if (ca === undefined) return createSecureContext(versions)
  const key = `${minVersion} ${maxVersion} ${ca}`
  const known = kept.get(key)
  if (known !== undefined) return known
  const [oldest] = kept.keys()
  if (kept.size === MOST_KEPT && oldest !== undefined) kept.delete(oldest)
  const made = createSecureContext({ ca, ...versions })
  kept.set(key, made)
  return made
}

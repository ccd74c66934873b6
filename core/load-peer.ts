/** Loads an optional package when it is first needed. */
import { PgIamError } from './errors.js'

/**
 * Imports the optional package `name` by `load`, which holds the literal `import()` so that bundlers see it.
 *
 * Rejects with `ERR_PEER_MISSING` and the install line as `hint` when it is not installed. An error inside the package
 * passes unchanged.
 */
export async function loadPeer<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    if (!isMissing(cause, name)) throw cause
    throw new PgIamError('ERR_PEER_MISSING', `the package "${name}" is not installed`, {
      hint: `Run: npm install ${name}`,
      cause,
    })
  }
}

/** Node names the missing package in the message; a package that the peer itself misses is not ours to explain. */
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  const notFound = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
  return (
    notFound &&
    typeof message === 'string' &&
    (message.includes(`'${name}'`) || message.includes(`"${name}"`))
  )
}

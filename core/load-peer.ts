/** The error for an optional package that is not installed. */
import { PgIamError } from './errors.js'

/**
 * Returns the error to throw if loading a package failed with `error`: `ERR_PEER_MISSING`, with the install command as `hint`, if one of
 * the packages `names` is not installed, otherwise `error` itself.
 *
 * Callers write `try { return await import('name') } catch (error) { throw peerError(error, 'name') }`. The `import()` must be directly
 * inside the `try`: bundlers (esbuild, webpack, rollup, and tools built on them) then treat the package as optional. esbuild is silent, and
 * webpack warns.
 */
export function peerError(error: unknown, ...names: [string, ...string[]]): unknown {
  const missing = names.find((name) => isMissing(error, name))
  if (missing === undefined) return error
  return new PgIamError('ERR_PEER_MISSING', `the package "${missing}" is not installed`, {
    hint: `Run: npm install ${missing}`,
    cause: error,
  })
}

/**
 * Node's message, and that of a bundler's stub for a missing package, contains the package name, with the imported subpath. A missing
 * dependency of the peer itself is not reported as a missing peer.
 */
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (typeof message !== 'string') return false
  const notFound =
    code === 'ERR_MODULE_NOT_FOUND' ||
    code === 'MODULE_NOT_FOUND' ||
    // esbuild (0.28) emits this for a `require()` in an ES module.
    message.startsWith('Dynamic require of ')
  return (
    notFound &&
    ["'", '"'].some(
      (quote) =>
        message.includes(`${quote}${name}${quote}`) || message.includes(`${quote}${name}/`),
    )
  )
}

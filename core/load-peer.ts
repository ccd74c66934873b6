/** What to say where an optional package is not installed. */
import { PgIamError } from './errors.js'

/**
 * Returns what to throw when loading a package has failed with `error`: `ERR_PEER_MISSING`, with the install line as `hint`, where
 * one of the packages `names` is not installed, and else `error` itself.
 *
 * Whoever loads an optional package writes `try { return await import('name') } catch (error) { throw peerError(error, 'name') }`,
 * with the `import()` right in the `try`. By that bundlers (esbuild, webpack, rollup, and what is built on them) know that the
 * package may be absent: esbuild says nothing then, and webpack warns.
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
 * Node, and what bundlers put in the place of a package that they did not find, name it in the message, with the path that was
 * asked for inside of it. A package that the peer itself misses is not ours to explain.
 */
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (typeof message !== 'string') return false
  const notFound =
    code === 'ERR_MODULE_NOT_FOUND' ||
    code === 'MODULE_NOT_FOUND' ||
    // What esbuild (0.28) leaves of a `require()` in an ES module.
    message.startsWith('Dynamic require of ')
  return (
    notFound &&
    ["'", '"'].some(
      (quote) =>
        message.includes(`${quote}${name}${quote}`) || message.includes(`${quote}${name}/`),
    )
  )
}

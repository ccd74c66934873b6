/** Looks at the built package as its users get it: `npm run build && node test/package/smoke.mjs`. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { EXPORT_NAMES } from './export-names.mjs'
import { checkInstalledPackage } from './installed-package.mjs'
import { checkTwoCopies } from './two-copies.mjs'

const require = createRequire(import.meta.url)

/** Every subpath, by import and by require, gives the names that are documented, and no others. */
async function checkExports() {
  const { exports } = JSON.parse(
    await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
  )
  const subpaths = Object.keys(exports).filter((subpath) => subpath !== './package.json')
  assert.deepEqual(subpaths.toSorted(), Object.keys(EXPORT_NAMES).toSorted())
  for (const [subpath, names] of Object.entries(EXPORT_NAMES)) {
    const name = `pg-iam${subpath.slice(1)}`
    assert.deepEqual(namesOf(await import(name)), names, `import '${name}'`)
    assert.deepEqual(namesOf(require(name)), names, `require('${name}')`)
  }
}

/** @param {object} module */
function namesOf(module) {
  return Object.keys(module)
    .filter((name) => name !== '__esModule')
    .toSorted()
}

/** @type {[string, () => Promise<void>][]} */
const CHECKS = [
  ['every subpath exports what it should, by import and by require', checkExports],
  ['the ESM and the CommonJS copy work together', checkTwoCopies],
  ['the tarball works where no optional package is installed', checkInstalledPackage],
]

for (const [what, check] of CHECKS) {
  await check()
  process.stdout.write(`ok: ${what}\n`)
}

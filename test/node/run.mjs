/**
 * `npm run test:node -- 22`: runs the suite, or the part that the further parameters of jest name, under another version of Node.
 * Nothing is installed: the versions are in a package of their own beside this file.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const { dependencies } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
const [version, ...parameters] = process.argv.slice(2)
const versions = Object.keys(dependencies).map((name) => name.replace('node-', ''))
if (!versions.includes(version))
  fail(`Usage: npm run test:node -- ${versions.join('|')} [jest's parameters]`)

const bin = join(here, 'node_modules', `node-${version}`, 'bin')
const node = join(bin, 'node')
if (!existsSync(node)) {
  const name = dependencies[`node-${version}`].replace('npm:', '')
  fail(`Node ${version} (${name}) is not installed. Run: npm install --prefix test/node
That package is for Linux on x64. Elsewhere, with a Node ${version} of your own: /path/to/node node_modules/jest/bin/jest.js`)
}

const startedAt = Date.now()
const { status } = spawnSync(node, ['node_modules/jest/bin/jest.js', ...parameters], {
  cwd: join(here, '../..'),
  stdio: 'inherit',
  // For the programs that tests start by name.
  env: { ...process.env, ...tier(), PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` },
})
const seconds = Math.round((Date.now() - startedAt) / 1000)
const outcome = status === 0 ? 'passed' : 'FAILED'
process.stdout.write(
  `test:node ${version}: ${outcome}, ${Math.floor(seconds / 60)} min ${seconds % 60} s\n`,
)
process.exit(status ?? 1)

/** What needs a newer Node than the others runs only here. The packages are beside the tests. */
function tier() {
  const name = ['mikro-orm', 'workers'].find((one) =>
    parameters.some((parameter) => parameter.startsWith(`test/${one}`)),
  )
  if (name === undefined) return {}
  if (!existsSync(join(here, '..', name, 'node_modules')))
    fail(`The packages of test/${name} are missing. Run: npm install --prefix test/${name}`)
  return { PG_IAM_TIER: name }
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

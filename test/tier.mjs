/**
 * `npm run test:hostile`, `npm run test:engines` and so on: runs the tests of one tier, which `npm test` leaves out, and says how long they
 * took. `npm run test:contract`: the same for the adapters, with each client on every provider and engine. Further parameters are jest's.
 */
import { spawnSync } from 'node:child_process'
import { FOLDERS } from './tiers.mjs'

const [tier = '', ...parameters] = process.argv.slice(2)
if (!Object.hasOwn(FOLDERS, tier)) {
  const names = Object.keys(FOLDERS).join('|')
  process.stderr.write(`Usage: node test/tier.mjs ${names} [jest's parameters]\n`)
  process.exit(2)
}
const startedAt = Date.now()
const folders = parameters.some((one) => one.startsWith('test/'))
  ? []
  : FOLDERS[tier].map((place) => (place.endsWith('.ts') ? place : `${place}/`))
const { status } = spawnSync(
  process.execPath,
  ['node_modules/jest/bin/jest.js', ...folders, ...parameters],
  { stdio: 'inherit', env: { ...process.env, PG_IAM_TIER: tier } },
)
const seconds = Math.round((Date.now() - startedAt) / 1_000)
const outcome = status === 0 ? 'passed' : 'FAILED'
process.stdout.write(
  `test:${tier}: ${outcome}, ${Math.floor(seconds / 60)} min ${seconds % 60} s\n`,
)
process.exit(status ?? 1)

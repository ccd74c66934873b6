/**
 * `npm run test:hostile`, `npm run test:tools`: runs the tests of one folder that `npm test` leaves out, and says how long they took.
 * `npm run test:contract`: the same for the adapters, with each client on every provider and engine. Further parameters are jest's.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const [tier, ...parameters] = process.argv.slice(2)
const folder = join('test', tier === 'contract' ? 'adapters' : (tier ?? ''))
if (tier === undefined || !existsSync(folder)) {
  process.stderr.write('Usage: node test/tier.mjs FOLDER_OF_TEST [jest parameters]\n')
  process.exit(2)
}
const startedAt = Date.now()
const { status } = spawnSync(
  process.execPath,
  ['node_modules/jest/bin/jest.js', `${folder}/`, ...parameters],
  { stdio: 'inherit', env: { ...process.env, PG_IAM_TIER: tier } },
)
const seconds = Math.round((Date.now() - startedAt) / 1_000)
const outcome = status === 0 ? 'passed' : 'FAILED'
process.stdout.write(
  `test:${tier}: ${outcome}, ${Math.floor(seconds / 60)} min ${seconds % 60} s\n`,
)
process.exit(status ?? 1)

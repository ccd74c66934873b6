import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const NAMES = [
  'serves its data while the caller continues to use it',
  'isolates the settings of the caller and of clients',
  'makes clients wait for a transaction of the caller, and vice versa',
  'is available to the caller after a client leaves a transaction open',
  'keeps the listeners of the caller, and statements with the same name of two clients',
  'refuses a role and a database that do not exist',
  'ends a client that changes its role with dynamic SQL',
  'stays open when the engine is closed',
  'names invalid arguments in errors',
]

describe('pgliteEngine(db)', () => {
  let results: Record<string, string>

  beforeAll(async () => {
    const hook = join(__dirname, '../../../support/typescript-hook.cjs')
    const program = join(__dirname, 'own-pglite-program.ts')
    const run = `require(${JSON.stringify(program)}).main()`
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--require',
      hook,
      '--eval',
      run,
    ])
    results = JSON.parse(stdout) as Record<string, string>
  })

  it.each(NAMES)('passes the scenario: %s', (name) => expect(results[name]).toBe('passed'))

  it('has no other scenarios', () => expect(Object.keys(results)).toEqual(NAMES))
})

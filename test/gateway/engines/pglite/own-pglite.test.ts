import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const NAMES = [
  'serves its data, and the caller goes on using it beside the clients',
  'keeps the settings of the caller and of its clients apart',
  'waits for a transaction of the caller, and the caller for those of clients',
  'is not kept from the caller by a client that leaves a transaction open',
  'keeps what the caller listens to, and statements of one name in two clients',
  'refuses a role and a database that it does not have',
  'ends a client that becomes another role by dynamic SQL',
  'stays open when the engine is closed',
  'names what is wrong with its arguments',
]

describe('pgliteEngine(db), with a PGlite of the caller,', () => {
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

  it.each(NAMES)('%s', (name) => expect(results[name]).toBe('passed'))

  it('has no other scenario', () => expect(Object.keys(results)).toEqual(NAMES))
})

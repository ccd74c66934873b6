import { join } from 'node:path'
import { runProgram } from '../examples/run-program.js'

const SOAK = '../test/soak/main.js'

/** Each test runs some of the clients. `npm run soak` runs all of them. */
describe('npm run soak', () => {
  it('finds no fault if the clients handle all injected faults, and prints their work', async () => {
    const words = ['--minutes', '0.04', '--clients', 'knex,postgres-js']
    const { stdout, stderr, exitCode } = await runProgram(SOAK, words)
    expect(stdout).not.toMatch(/^(?:crash|leak|zombie|ledger|failure): /m)
    // A slow machine may do so little in that time that no transaction conflicts, which the soak reports as "idle".
    if (/^idle: /m.test(stdout)) expect(exitCode).toBe(1)
    else {
      expect(stdout).toMatch(/^Seed 1, \d+ s\. No crash, leak or zombie\. .*$/m)
      expect(exitCode).toBe(0)
    }
    for (const client of ['knex', 'postgres-js'])
      expect(stdout).toMatch(new RegExp(`^│ ${client} +│ +[1-9]`, 'm'))
    expect(stderr).toMatch(/^\d+ s: [\d,]+ queries, [\d,]+ transactions, [\d,]+ failed calls$/m)
  })

  it('exits with 1 and names the client if a client crashes or writes twice', async () => {
    const preload = join(process.cwd(), 'test', 'soak', 'planted-faults.cjs')
    const environment = { NODE_OPTIONS: `--require "${preload}"` }
    const words = ['--minutes', '0.04', '--clients', 'pg']
    const { stdout, exitCode } = await runProgram(SOAK, words, { environment })
    expect(stdout).toContain('\ncrash: pg: Error: the crash that was planted')
    expect(stdout).toMatch(/^ledger: ID \d+: .*, but it was found in part or more than once/m)
    expect(stdout).toMatch(/^Seed 1, \d+ s\. FAILED: \d+ faults\.$/m)
    expect(exitCode).toBe(1)
  })

  it.each([
    [['--minutes', 'many'], '"--minutes" must be a number above 0 and up to 1440, got "many"'],
    [['--clients', 'pg,mysql'], '"--clients" must be some of sequelize, sequelize-7, typeorm'],
  ])('explains the problem with %j, and exits with 2', async (words, message) => {
    const { stdout, stderr, exitCode } = await runProgram(SOAK, words)
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 2 })
    expect(stderr).toContain(message)
    expect(stderr).toContain('usage: npm run soak --')
  })
})

import { join } from 'node:path'
import { runProgram, type ProgramResult } from './run-program.js'

const CLIENTS = [
  'sequelize',
  'sequelize-7',
  'typeorm',
  'knex',
  'kysely',
  'prisma',
  'drizzle',
  'drizzle-postgres-js',
  'pg',
  'postgres-js',
]

/** The number of connections of each client. */
const POOL_SIZE = 3

describe('npm start', () => {
  let result: ProgramResult

  beforeAll(async () => {
    result = await runProgram('demo/main.js', ['--seconds', '9'])
  })

  it('exits with 0 and reports success', () => {
    expect(result.stderr).toBe('')
    expect(result.stdout).toContain('No query failed, and no data was lost.\n')
    expect(result.exitCode).toBe(0)
  })

  it.each(CLIENTS)('reports logins with tokens and no failed query for %s', (name) => {
    const row = tableRow(result.stdout, name)
    expect(row['connections']).toBeGreaterThan(0)
    expect(row['tokens']).toBeGreaterThanOrEqual(row['connections']!)
    expect(row['queries']).toBeGreaterThan(0)
    expect(row['transactions']).toBeGreaterThan(0)
    expect(row['failures']).toBe(0)
  })

  it('reports the engine, and that conflicts were retried', () => {
    expect(result.stdout).toMatch(/^engine: postgres, PostgreSQL \d+\.\d+ \(.+\)$/m)
    const [, conflicts] =
      /^Their transactions had (\d+) conflicts and were retried\.$/m.exec(result.stdout) ?? []
    expect(Number(conflicts)).toBeGreaterThan(0)
  })

  it('replaces connections', () => {
    expect(tableRow(result.stdout, 'all')['connections']).toBeGreaterThan(
      CLIENTS.length * POOL_SIZE,
    )
  })

  it('reports the totals of the clients, and the accepted logins of the gateway', () => {
    const sum = tableRow(result.stdout, 'all')
    const rows = CLIENTS.map((name) => tableRow(result.stdout, name))
    for (const [column, total] of Object.entries(sum))
      expect(rows.reduce((counted, row) => counted + row[column]!, 0)).toBe(total)
    // A token of 5 seconds may expire on its way through a machine with other work.
    expect(result.stdout).toMatch(
      new RegExp(
        `The gateway accepted ${sum['connections']} logins of these clients and refused \\d+\\.\n`,
      ),
    )
  })

  it.each([
    ['expired', '08006', 'Signature'],
    ['forged', '08006', 'the signature'],
    ['other role', '28000', 'the principal'],
  ])(
    'reports the errors of client and gateway for the bad token: %s',
    (token, sqlState, logged) => {
      const clientSaw = `${sqlState}: unable to accept connection,`
      expect(result.stdout.replaceAll(/ +/g, ' ')).toContain(
        `\n${token} ${clientSaw} refused a login: ${logged}`,
      )
    },
  )

  it('writes at most 80 columns and no escape codes on a pipe', () => {
    expect(Math.max(...result.stdout.split('\n').map((line) => line.length))).toBeLessThan(81)
    expect(result.stdout).not.toContain('\u001B')
  })

  it('exits with 1 and names the client if a query failed', async () => {
    const preload = join(process.cwd(), 'test', 'examples', 'failing-query.cjs')
    const environment = { NODE_OPTIONS: `--require "${preload}"` }
    const failed = await runProgram('demo/main.js', ['--seconds', '2'], { environment })
    expect(failed.stderr).toBe('')
    expect(tableRow(failed.stdout, 'pg')['failures']).toBe(1)
    expect(tableRow(failed.stdout, 'all')['failures']).toBe(1)
    expect(failed.stdout).toContain('pg: 1 failed.\n  Error: the query that had to fail\n')
    expect(failed.exitCode).toBe(1)
  })

  it('shuts down cleanly and exits with 130 on Ctrl-C', async () => {
    const stopped = await runProgram('demo/main.js', [], { signalAfterFirstLine: 'SIGINT' })
    expect(stopped.stderr).toBe('')
    expect(tableRow(stopped.stdout, 'all')['open']).toBe(0)
    expect(stopped.exitCode).toBe(130)
  })

  it.each([['--seconds', '0'], ['--seconds', 'many'], ['--minutes', '1'], ['8']])(
    'prints its usage for the invalid command line %s %s',
    async (...words) => {
      const { exitCode, stdout, stderr } = await runProgram('demo/main.js', words)
      expect(stderr).toContain('usage: npm start -- [--seconds N]')
      expect(stdout).toBe('')
      expect(exitCode).toBe(2)
    },
  )
})

/** The numbers of one row of the last table, by column. */
function tableRow(stdout: string, name: string): Record<string, number> {
  const lines = stdout.split('\n')
  const row = lines.findLast((line) => line.startsWith(`${name} `))
  const columns = lines
    .findLast((line) => line.startsWith('client '))!
    .split(/ +/)
    .slice(1)
  const cells = row?.replaceAll(',', '').split(/ +/).slice(1).map(Number) ?? []
  return Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? Number.NaN]))
}

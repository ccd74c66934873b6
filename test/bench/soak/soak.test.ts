import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram, type ProgramResult } from '../../examples/run-program.js'

const SOAK = '../bench/soak/main.js'
const CLIENTS = [
  'sequelize',
  'typeorm',
  'knex',
  'drizzle',
  'drizzle-postgres-js',
  'pg',
  'postgres-js',
]

describe('npm run soak', () => {
  let directory: string
  let result: ProgramResult
  let json: { clients: Record<string, { exit: number; calls: Record<string, number> }> }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pg-iam-soak-'))
    const file = join(directory, 'soak.json')
    result = await runProgram(SOAK, ['--minutes', '0.1', '--json', file])
    json = JSON.parse(await readFile(file, 'utf8')) as typeof json
  })
  afterAll(() => rm(directory, { recursive: true }))

  it('ends with exit code 0 and says that all was well', () => {
    expect(result.stdout).toMatch(/^Seed 1, \d+ s\. No crash, no leak, no zombie; .*$/m)
    expect(result.exitCode).toBe(0)
  })

  it.each(CLIENTS)('had %s confirm transactions, and lose connections', (name) => {
    const row = cells(result.stdout, name)
    expect(row['queries']).toBeGreaterThan(0)
    expect(row['transactions']).toBeGreaterThan(0)
    expect(row['connections']).toBeGreaterThan(6)
    expect(row['tokens']).toBeGreaterThanOrEqual(row['connections']!)
    expect(json.clients[name]).toMatchObject({ exit: 0, calls: { hanging: 0, lateDone: 0 } })
  })

  it('shows what it did while it does it', () => {
    expect(result.stderr).toMatch(
      /^\d+ s: [\d,]+ queries, [\d,]+ transactions, [\d,]+ failed calls$/m,
    )
  })
})

describe('npm run soak, where a client does what it must not do', () => {
  it('ends with exit code 1, and says what', async () => {
    const preload = join(process.cwd(), 'test', 'bench', 'soak', 'planted-faults.cjs')
    const environment = { NODE_OPTIONS: `--require "${preload}"` }
    const words = ['--minutes', '0.04', '--clients', 'pg']
    const { stdout, exitCode } = await runProgram(SOAK, words, { environment })
    expect(stdout).toContain('\ncrash: pg: Error: the crash that was planted')
    expect(stdout).toMatch(
      /^ledger: identifier \d+: .*, but it is there in part or more than once/m,
    )
    expect(stdout).toMatch(/^Seed 1, \d+ s\. FAILED: \d+ faults\.$/m)
    expect(exitCode).toBe(1)
  })
})

describe('npm run soak, with a command line that it does not understand', () => {
  it('explains itself, and ends with exit code 2', async () => {
    const { stdout, stderr, exitCode } = await runProgram(SOAK, ['--minutes', 'many'])
    expect(stdout).toBe('')
    expect(stderr).toContain('"--minutes" must be a number')
    expect(stderr).toContain('usage: npm run soak --')
    expect(exitCode).toBe(2)
  })
})

/** The numbers of one row of the first table, by column. */
function cells(stdout: string, name: string): Record<string, number> {
  const split = (line: string): string[] => line.split('│').map((cell) => cell.trim())
  const lines = stdout.split('\n')
  const head = split(lines.find((line) => line.includes(' queries '))!)
  const row = split(lines.find((line) => line.startsWith(`│ ${name} `))!)
  return Object.fromEntries(
    head.map((column, index) => [column, Number(row[index]?.replaceAll(',', ''))]),
  )
}

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ComparisonSection, CountSection } from '../../../bench/frame/benchmark.js'
import type { BenchRun } from '../../../bench/frame/run-benchmarks.js'
import {
  PGBENCH_MISSING,
  findPgbench,
  type Pgbench,
} from '../../../bench/gateway/pgbench/find-pgbench.js'
import { runProgram, type ProgramResult } from '../../examples/run-program.js'
import { systemDirectories } from '../../../gateway/engines/postgres/postgres-programs.js'

let folder: string
let pgbench: Pgbench | undefined
let result: ProgramResult

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-iam-gateway-bench-'))
  // The program that is run is not told of PG_BINDIR.
  pgbench = await findPgbench(await systemDirectories())
  const words = ['gateway', '--quick', '--json', join(folder, 'run.json')]
  result = await runProgram('../bench/main.js', words)
})
afterAll(() => rm(folder, { recursive: true }))

describe('npm run bench:gateway', () => {
  it('is a script of package.json', async () => {
    const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as {
      scripts: Record<string, string>
    }
    expect(scripts['bench:gateway']).toBe('npm run bench -- gateway')
  })

  it('measures queries, connections and checks, or says at once that there is no pgbench', async () => {
    const { exitCode, stdout, stderr } = result
    if (pgbench === undefined) {
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
      expect(stderr).toContain(PGBENCH_MISSING)
      return
    }
    expect(result).toMatchObject({ exitCode: 0 })
    const run = JSON.parse(await readFile(join(folder, 'run.json'), 'utf8')) as BenchRun
    expect(run).toMatchObject({
      isQuick: true,
      leftOut: [],
      versions: { pgbench: pgbench.version },
    })
    const { sections } = run.benchmarks[0]!
    expect(sections.map(({ name, kind }) => [name, kind])).toEqual([
      ['queries', 'comparison'],
      ['query-cpu', 'counts'],
      ['connects', 'comparison'],
      ['connect-cost', 'counts'],
      ['checks', 'comparison'],
      ['engine-starts', 'counts'],
    ])
    for (const { title } of sections) expect(stdout).toContain(title)
    const [queries, queryCpu, connects, connectCost, checks] = sections as [
      ComparisonSection,
      CountSection,
      ComparisonSection,
      CountSection,
      ComparisonSection,
    ]
    const relay = 'a relay in Node, nothing else'
    for (const { comparisons } of [queries, connects, checks]) {
      for (const { baseline, control, results } of comparisons) {
        const [first, second, ...others] = results.map(({ name }) => name)
        expect([first, second]).toEqual([baseline, control])
        const ours = others.filter((name) => name.startsWith('pg-iam gateway'))
        expect(ours.length).toBeGreaterThan(0)
        expect(others).toEqual([...ours, ...(comparisons === queries.comparisons ? [relay] : [])])
        for (const { samples } of results) {
          expect(samples).toHaveLength(results[0]!.samples.length)
          expect(samples.every((sample) => sample > 0 && Number.isFinite(sample))).toBe(true)
        }
      }
    }
    expect(checks.comparisons[0]!.results.slice(2).map(({ name }) => name.split(', ')[1])).toEqual([
      'Aurora DSQL',
      'RDS',
      'Entra ID',
      'Cloud SQL',
    ])
    const namesOf = ({ comparisons }: ComparisonSection): string[] =>
      comparisons.map(({ name }) => name)
    expect(queryCpu.rows.map(({ name }) => name)).toEqual(namesOf(queries))
    expect(connectCost.rows.map(({ name }) => name)).toEqual(namesOf(connects))
    for (const { counts } of [...queryCpu.rows, ...connectCost.rows])
      for (const count of Object.values(counts)) expect(count).not.toBeNaN()
  })
})

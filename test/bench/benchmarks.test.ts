import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  ComparisonSection,
  CountSection,
  CurveSection,
  Section,
} from '../../bench/frame/benchmark.js'
import type { BenchRun } from '../../bench/frame/run-benchmarks.js'
import { runProgram, type ProgramResult } from '../examples/run-program.js'

const PROGRAM = '../bench/main.js'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-iam-benchmarks-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** The sections of each, and the beginnings of the names of others than pg-iam, the baseline and its control. */
const BENCHMARKS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  queries: {
    adapters: [],
    connector: ['instant', 'environment', '2 ms'].map((from) => `AWS connector, ${from}`),
  },
  connects: { 'at-once': ['AWS connector'], 'one-by-one': ['AWS connector'] },
  tokens: { counts: [], signed: ['signer, new for each', 'pg-iam, built-in signer'] },
  start: { imports: ['@azure/postgresql-auth', 'pg alone'], 'first-token': [], bundles: [] },
  memory: {
    'tokens-heap': ["the AWS SDK's signer"],
    'tokens-external': [],
    'tokens-resident': [],
    'connections-heap': ['pg, static password', 'Postgres.js, static password'],
    'connections-external': [],
    'connections-resident': [],
  },
  scale: {
    'logins-token': [],
    'logins-create': [],
    'logins-memory': [],
    pace: [],
    'own-part': [],
    'at-once-cpu': ['static password, PostgreSQL', 'static password, stand-in'],
    'at-once-time': [],
  },
}

describe.each(Object.entries(BENCHMARKS))('npm run bench:%s', (name, expected) => {
  let result: ProgramResult
  let run: BenchRun
  let sections: readonly Section[]

  beforeAll(async () => {
    const json = join(folder, `${name}.json`)
    result = await runProgram(PROGRAM, [name, '--quick', '--json', json, '--svg', chartFolder()])
    expect(result).toMatchObject({ exitCode: 0 })
    run = JSON.parse(await readFile(json, 'utf8')) as BenchRun
    sections = run.benchmarks[0]!.sections
    // A run takes half a minute on a machine that does nothing else.
  }, 600_000)
  const chartFolder = (): string => join(folder, `${name}-charts`)
  const comparisons = (): ComparisonSection[] =>
    sections.filter((section) => section.kind === 'comparison')
  const curveSections = (): CurveSection[] =>
    sections.filter((section) => section.kind === 'curves')

  it('is a script of package.json, and runs this one alone', async () => {
    const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as {
      scripts: Record<string, string>
    }
    expect(scripts[`bench:${name}`]).toBe(`npm run bench -- ${name}`)
    expect(run.benchmarks.map((benchmark) => benchmark.name)).toEqual([name])
  })

  it('measures every competitor in every round, and the baseline twice', () => {
    expect(sections.map((section) => section.name)).toEqual(Object.keys(expected))
    for (const section of comparisons()) {
      expect(section.comparisons.length).toBeGreaterThan(0)
      for (const { baseline, control, results } of section.comparisons) {
        const [first, second, ...others] = results.map((competitor) => competitor.name)
        expect([first, second]).toEqual([baseline, control])
        expect(control).toBe(`${baseline}, again`)
        expect(others.some((other) => other.startsWith('pg-iam'))).toBe(true)
        const rounds = results[0]!.samples.length
        for (const { samples, figure, ratio } of results) {
          expect(samples).toHaveLength(rounds)
          expect(samples.every((sample) => sample > 0 && Number.isFinite(sample))).toBe(true)
          expect(figure.median).toBeGreaterThan(0)
          expect(ratio.median).toBeGreaterThan(0)
        }
        expect(results[0]!.ratio).toMatchObject({ least: 1, most: 1 })
      }
      const names = section.comparisons.flatMap(({ results }) => results.map((one) => one.name))
      for (const competitor of expected[section.name]!)
        expect(names.some((one) => one.startsWith(competitor))).toBe(true)
    }
  })

  it('measures every curve at several amounts, and what it is compared with, too', () => {
    for (const { name: section, curves } of curveSections()) {
      const names = curves.map((curve) => curve.name)
      for (const { points, fit, against } of curves) {
        expect(points.length).toBeGreaterThan(2)
        const [first, ...others] = points.map(({ x }) => x)
        expect(others.every((x) => x > first!)).toBe(true)
        expect(points.every(({ y }) => Number.isFinite(y))).toBe(true)
        expect(Object.values(fit).every(Number.isFinite)).toBe(true)
        if (against !== undefined) expect(names).toContain(against)
      }
      for (const competitor of expected[section]!)
        expect(names.some((one) => one.startsWith(competitor))).toBe(true)
    }
  })

  it('prints the tables, the machine and the versions, and that quick figures are worth nothing', () => {
    for (const { title } of sections) expect(result.stdout).toContain(title)
    for (const section of comparisons())
      for (const { control } of section.comparisons) expect(result.stdout).toContain(control)
    expect(result.stdout).toContain(`Node ${process.versions.node}, OpenSSL `)
    expect(result.stdout).toMatch(/@aws\/aurora-dsql-node-postgres-connector \d+\.\d+\.\d+, /)
    if (name !== 'start') expect(run.versions['PostgreSQL']).toMatch(/^\d+/)
    expect(run).toMatchObject({ seed: 1, isQuick: true, machine: { node: process.versions.node } })
    expect(result.stdout).toMatch(/seed 1, \d+ s; load before it: \d+\.\d\d$/m)
    expect(result.stdout).toContain('--quick: these figures are worth nothing.')
  })

  it('draws a chart for each section of comparisons or curves', async () => {
    const files = [...comparisons(), ...curveSections()].map(
      (section) => `bench-${name}-${section.name}.svg`,
    )
    expect((await readdir(chartFolder())).toSorted()).toEqual(files.toSorted())
    const chart = await readFile(join(chartFolder(), files[0]!), 'utf8')
    expect(chart).toMatch(/^<svg .*<\/svg>\n$/s)
  })

  if (name === 'queries') {
    it('measures every adapter', async () => {
      const { exports } = JSON.parse(await readFile('package.json', 'utf8')) as {
        exports: Record<string, unknown>
      }
      const adapters = Object.keys(exports)
        .filter((entry) => !['.', './gateway', './package.json'].includes(entry))
        .map((entry) => entry.slice(2))
      const measured = comparisons()[0]!.comparisons.map((one) => one.name.split(',')[0])
      expect(new Set(measured)).toEqual(new Set(adapters))
    })
  }

  if (name === 'tokens') {
    it('counts one token for a connection, and one look-up of credentials for all', () => {
      const { rows } = sections[0] as CountSection
      expect(rows).toEqual([
        { name: 'pg-iam', counts: { 'credentials calls': 1, tokens: 5, connections: 5 } },
        {
          name: 'AWS connector',
          counts: { 'credentials calls': 1_000, tokens: 1_000, connections: 5 },
        },
      ])
    })
  }

  if (name === 'start') {
    it('makes bundles that run without the packages, and some without the SDK in them', () => {
      const { rows } = sections[2] as CountSection
      const sizes = new Map(rows.map((row) => [row.name, row.counts['bytes']!]))
      const ofAuroraDsql = ['AWS connector', 'pg-iam, Aurora DSQL, pg']
      const whole = [...ofAuroraDsql, '@azure/postgresql-auth, pg', 'pg-iam, Entra ID, pg']
      const onLambda = ofAuroraDsql.map((one) => `${one}, AWS SDK of Lambda`)
      expect([...sizes.keys()].toSorted()).toEqual([...whole, ...onLambda].toSorted())
      for (const one of whole) expect(sizes.get(one)).toBeGreaterThan(200_000)
      // pg is in them, and pg-iam, but not the SDK.
      for (const one of onLambda) {
        expect(sizes.get(one)).toBeGreaterThan(80_000)
        expect(sizes.get(one)).toBeLessThan(250_000)
      }
    })
  }
})

describe('npm run bench, with a command line that it does not understand', () => {
  it('explains itself, and ends with exit code 2', async () => {
    const { stdout, stderr, exitCode } = await runProgram(PROGRAM, ['gateways', '--quick'])
    expect(stdout).toBe('')
    expect(stderr).toContain('there is no benchmark "gateways", only queries, connects')
    expect(stderr).toContain('usage: npm run bench --')
    expect(exitCode).toBe(2)
  })
})

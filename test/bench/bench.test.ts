import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compare, competitor, resultOf, type Competitor, type Row } from '../../bench/rounds.js'
import { runProgram, type ProgramResult } from '../examples/run-program.js'
import { createSeededRandom } from '../support/seeded-random.js'

const PROGRAM = '../bench/main.js'
const PAGE = `# Figures

Written by hand.

<!-- Written by \`npm run bench -- --docs FILE\`: -->

What was there before.

<!-- End of what is written. -->

The end.
`

describe('npm run bench -- --quick --docs FILE', () => {
  let folder: string
  let result: ProgramResult
  let page: string
  let rows: readonly Row[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pg-iam-bench-'))
    const [docs, json] = [join(folder, 'page.md'), join(folder, 'bench.json')]
    await writeFile(docs, PAGE)
    result = await runProgram(PROGRAM, ['--quick', '--docs', docs, '--json', json])
    expect(result).toMatchObject({ exitCode: 0 })
    page = await readFile(docs, 'utf8')
    rows = (JSON.parse(await readFile(json, 'utf8')) as { rows: Row[] }).rows
    // Seconds on a machine that does nothing else.
  }, 600_000)
  afterAll(() => rm(folder, { recursive: true }))

  it('measures every adapter of the package', async () => {
    const { exports } = JSON.parse(await readFile('package.json', 'utf8')) as {
      exports: Record<string, unknown>
    }
    // MikroORM needs Node 22.
    const others = ['.', './gateway', './migrations', './mikro-orm', './register', './sign-in']
    // "gateway" compares it with TCP.
    others.push('./postgres-js-websocket', './package.json')
    const adapters = Object.keys(exports).filter((entry) => !others.includes(entry))
    const measured = rows.map(({ what }) => /^queries: ([^,]+)/.exec(what)?.[1])
    expect(new Set(measured.filter(Boolean))).toEqual(new Set(adapters.map((one) => one.slice(2))))
  })

  it.each(['queries', 'connects', 'tokens', 'start', 'gateway', 'dsql'])(
    'has figures, ratios and a control from %s, which is a script of its own',
    async (name) => {
      const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as {
        scripts: Record<string, string>
      }
      expect(scripts[`bench:${name}`]).toBe(`npm run bench -- ${name}`)
      const own = rows.filter(({ what }) => what.startsWith(`${name}: `))
      expect(own.length).toBeGreaterThan(0)
      for (const { samples, figure, baseline, compared, control } of own) {
        expect(samples.every(Number.isFinite)).toBe(true)
        for (const { median } of [figure, baseline, compared, control])
          expect(Number.isFinite(median)).toBe(true)
      }
    },
  )

  it("counts one call for credentials for all connections, and one a query by AWS's connector", () => {
    const row = rows.find(({ unit }) => unit === 'calls for credentials')
    expect(row).toMatchObject({ figure: { median: 1 }, baseline: { median: 50 } })
  })

  it('replaces what is between the comments of the page, and nothing else', () => {
    expect(page).toMatch(/^# Figures\n\nWritten by hand\.\n/)
    expect(page).toMatch(/\n\nThe end\.\n$/)
    expect(page).not.toContain('What was there before')
    for (const { what, competitor: name } of rows) expect(page).toContain(`| ${what}: ${name} `)
    expect(page).toContain('A quick run, whose figures mean little.')
    expect(result.stdout).toContain('A quick run, whose figures mean little.')
  })
})

describe('npm run bench, with a command line that it does not understand', () => {
  it.each([
    [['gateways'], 'there is no benchmark "gateways", only queries, connects'],
    [['--docs', 'README.md'], 'the page must have "<!-- Written by'],
    [['queries', '--against', 'docs'], '"--against" must be the dist folder of a build'],
  ])('explains what is wrong about %j, and ends with exit code 2', async (words, message) => {
    const { stdout, stderr, exitCode } = await runProgram(PROGRAM, [...words, '--quick'])
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 2 })
    expect(stderr).toContain(message)
    expect(stderr).toContain('usage: npm run bench --')
  })
})

describe('a comparison', () => {
  const random = createSeededRandom(1)
  /** On a machine on which everything takes twice as long in each second round of three competitors. */
  const contest = (speeds: Readonly<Record<string, number>>, log: string[] = []) => {
    let opened = 0
    const [baseline, ...others] = Object.entries(speeds).map(([name, ms]): Competitor => {
      return {
        name,
        open() {
          const factor = Math.floor(opened++ / 3) % 2 === 0 ? 1 : 2
          log.push('open')
          return {
            sample: async () => {
              log.push(name)
              return ms * factor
            },
            close: async () => void log.push('close'),
          }
        },
      }
    })
    return { what: 'work', unit: 'ms', baseline: baseline!, others }
  }

  it('compares the figures of one round, so that a slow round changes no ratio', async () => {
    const [row] = await compare(contest({ theirs: 10, ours: 12 }), { rounds: 4 }, random)
    expect(row).toMatchObject({
      competitor: 'ours',
      against: 'theirs',
      samples: [12, 24, 12, 24],
      compared: { lowerQuartile: 1.2, median: 1.2, upperQuartile: 1.2 },
      control: { lowerQuartile: 1, median: 1, upperQuartile: 1 },
    })
    expect(resultOf(row!)).toBe('worse')
  })

  it.each([
    ['better', 0.9],
    ['same', 0.97],
    ['same', 1.04],
    ['worse', 1.1],
  ])(
    'is "%s" at a ratio of %d, where the baseline is 0.95 to 1.05 of itself',
    async (is, ratio) => {
      const [row] = await compare(contest({ theirs: 10, ours: 10 * ratio }), { rounds: 1 }, random)
      const control = { lowerQuartile: 0.95, median: 1, upperQuartile: 1.05 }
      expect(resultOf({ ...row!, control })).toBe(is)
    },
  )

  it('gives everybody a turn before anybody has the next, with everything opened again for each round', async () => {
    const log: string[] = []
    const effort = { rounds: 2, turns: 2, warmUpTurns: 1 }
    await compare(contest({ theirs: 10, ours: 12 }, log), effort, random)
    const round = log.slice(0, log.length / 2)
    expect(round.slice(0, 3)).toEqual(['open', 'open', 'open'])
    for (const turn of [3, 6, 9])
      expect(round.slice(turn, turn + 3).toSorted()).toEqual(['ours', 'theirs', 'theirs'])
    expect(round.slice(12)).toEqual(['close', 'close', 'close'])
  })

  it('closes what a round has opened where the round fails', async () => {
    const log: string[] = []
    const alone = contest({ theirs: 10 }, log)
    const broken = competitor('broken', () => Promise.reject(new Error('it broke')))
    const failed = compare({ ...alone, others: [broken] }, { rounds: 1 }, random)
    await expect(failed).rejects.toThrow('it broke')
    expect(log.filter((what) => what === 'close')).toHaveLength(2)
  })
})

import { GOALS } from '../../../bench/docs/goals/goals.js'
import { page } from '../../../bench/docs/page.js'
import { comparison, comparisons, counts, curves, measuredOf } from './given-results.js'

const signed = (ours: number) =>
  comparisons(
    'signed',
    ['Aurora DSQL', 'RDS'].map((provider) =>
      comparison(provider, { 'pg-iam': [ours], 'pg-iam, built-in signer': [0.3] }, { figure: 30 }),
    ),
    { better: 'less', unit: 'µs' },
  )
const counted = counts('counts', [
  { name: 'pg-iam', counts: { 'credentials calls': 1, tokens: 5 } },
  { name: 'AWS connector', counts: { 'credentials calls': 1_000, tokens: 1_000 } },
])

/** The cells of the row that begins with these words. */
function rowOf(text: string, words: string): string[] {
  const row = text.split('\n').find((line) => line.startsWith('| ') && line.includes(words))
  return row!.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, ''))
}

const goals = GOALS.filter(({ toReach }) => toReach !== undefined).length

describe('the page of all figures', () => {
  const text = page(measuredOf({ tokens: [counted, signed(1.3)] }))

  it('has a row for each goal: met, missed, or not measured', () => {
    expect(rowOf(text, 'Credentials calls and tokens')).toEqual([
      '[Credentials calls and tokens for 1,000 queries on 5 connections](#all-counts)',
      'the AWS connector',
      '1 and 5',
      '1 and 5<br>AWS connector 1,000 and 1,000',
      '**yes**',
    ])
    expect(rowOf(text, 'One token for RDS').at(-1)).toBe('**no**')
    expect(rowOf(text, 'Queries a second').slice(-2)).toEqual(['not measured', 'not measured'])
    expect(text).toContain(`1 of ${goals} goals is met, 2 are not, ${goals - 3} were not measured.`)
  })

  it('has the chart, the notes and all figures of a section, with when it was measured', () => {
    const section = text.slice(text.indexOf('## All signed'))
    expect(section).toContain('![All signed](performance/tokens-signed.svg)')
    expect(section).toContain('In µs; less is better.')
    expect(section).toContain('One sentence of notes.')
    expect(rowOf(section, 'static password, again (control)').slice(2, 4)).toEqual([
      '30.0',
      '29.4 – 30.6',
    ])
    expect(section).toContain('| pg-iam | 39.0 |')
    expect(section).toContain('| --- | --- | --: | --: | --: | --: | --: |')
    expect(section).toContain('`npm run bench -- tokens`, 2026-11-25 20:30 UTC, seed 1')
  })

  it('has no chart for what is counted', () => {
    expect(text).toContain('## All counts')
    expect(text).not.toContain('tokens-counts.svg')
  })

  it('says on what it was measured, and how to do the same again', () => {
    expect(rowOf(text, '2026-11-25 20:30 UTC')).toEqual([
      'tokens',
      '2026-11-25 20:30 UTC',
      '62 s',
      '1',
      '0.04',
      'linux x64, 2 × Some Processor',
      'pg-iam 0.1.0, Node 20.20.2, OpenSSL 3.0.19',
    ])
    expect(text).toContain('pg 8.23.1, PostgreSQL 18.4.')
    expect(text).toContain('\nnpm run bench -- tokens --seed 1 --docs docs\n')
  })

  it('counts what is no goal neither as met nor as missing', () => {
    const bundles = ['AWS connector', 'pg-iam, Aurora DSQL, pg']
    const builtIn = 'pg-iam, Aurora DSQL, pg, built-in signer'
    const others = ['@azure/postgresql-auth, pg', 'pg-iam, Entra ID, pg']
    const onLambda = bundles.map((name) => `${name}, AWS SDK of Lambda`)
    const sizes = [...bundles, builtIn, ...onLambda, ...others].map((name) => ({
      name,
      counts: { bytes: 500_000 },
    }))
    const shown = page(measuredOf({ start: [counts('bundles', sizes)] }))
    expect(rowOf(shown, 'The size of these bundles').slice(2)).toEqual([
      'none was set',
      'pg-iam, Aurora DSQL, pg: 500 kB; AWS connector: 500 kB<br>pg-iam, Aurora DSQL, pg, built-in signer: 500 kB; AWS connector: 500 kB<br>pg-iam, Aurora DSQL, pg, AWS SDK of Lambda: 500 kB; AWS connector, AWS SDK of Lambda: 500 kB<br>pg-iam, Entra ID, pg: 500 kB; @azure/postgresql-auth, pg: 500 kB',
      '–',
    ])
    expect(shown).toContain(`0 of ${goals} goals are met, ${goals} were not measured.`)
  })

  it('has the chart and the unit of curves', () => {
    const grown = page(measuredOf({ memory: [curves('heap', [])] }))
    expect(grown).toContain('![All heap](performance/memory-heap.svg)')
    expect(grown).toContain('Figures are the growth, in kB.')
  })

  it('folds a long table', () => {
    const many = Array.from({ length: 9 }, (_, task) =>
      comparison(`pg, ${task}`, { 'pg-iam': [1] }),
    )
    const long = page(measuredOf({ queries: [comparisons('adapters', many)] }))
    expect(long).toContain('<details><summary>All figures</summary>')
    expect(text).not.toContain('<details>')
  })
})

describe('the page of several runs', () => {
  const text = page([
    ...measuredOf({ queries: [], connects: [] }, { seed: 3, loadBefore: 0.5 }),
    ...measuredOf(
      { tokens: [counted] },
      { startedAt: '2026-11-26T21:00:00.000Z', versions: { pg: '8.24.0', PostgreSQL: '18.4' } },
    ),
  ])

  it('says of each when and with what it was measured', () => {
    expect(rowOf(text, 'queries, connects').slice(1, 5)).toEqual([
      '2026-11-25 20:30 UTC',
      '62 s',
      '3',
      '0.50',
    ])
    expect(rowOf(text, '2026-11-26 21:00 UTC')[0]).toBe('tokens')
    expect(text).toContain('pg 8.23.1 (queries, connects) and 8.24.0 (tokens), PostgreSQL 18.4.')
  })

  it('says how to do them again', () => {
    expect(text).toContain(
      [
        'npm run bench -- queries connects --seed 3 --json 1.json',
        'npm run bench -- tokens --seed 1 --json 2.json',
        'npm run bench -- --docs docs --from 1.json --from 2.json',
      ].join('\n'),
    )
  })
})

describe('the page of a run that left a benchmark out', () => {
  const leftOut = [{ name: 'gateway', why: 'there is no pgbench' }]
  const without = measuredOf({ tokens: [counted] }, { leftOut })

  it('says why', () => {
    expect(page(without)).toContain(
      'Not measured: the benchmark "gateway" cannot run: there is no pgbench',
    )
  })

  it('says nothing where another run has measured it, or nothing was left out', () => {
    expect(page([...without, ...measuredOf({ gateway: [] })])).not.toContain('Not measured:')
    expect(page(measuredOf({ tokens: [counted] }))).not.toContain('Not measured:')
  })
})

import { GOALS } from '../../../bench/docs/goals/goals.js'
import { connectionsAtOnce, connectionsOneByOne } from '../../../bench/docs/goals/connects.js'
import type { Goal } from '../../../bench/docs/goals/goal.js'
import {
  queriesThroughAdapters,
  queriesWithSignedTokens,
} from '../../../bench/docs/goals/queries.js'
import {
  firstTokenForAuroraDsql,
  firstTokenForEntra,
  firstTokenWithPg,
  importOfCore,
  sizesOfBundles,
} from '../../../bench/docs/goals/start.js'
import { auroraDsqlToken, rdsToken, tokensForQueries } from '../../../bench/docs/goals/tokens.js'
import type { Comparison } from '../../../bench/frame/benchmark.js'
import { comparison, comparisons, counts } from './given-results.js'

const verdictOf = (goal: Goal, ofIt: readonly Comparison[], better: 'more' | 'less'): unknown =>
  goal.judge(comparisons('given', ofIt, { better, unit: 'ms' }))?.verdict
const only = (...values: number[]): readonly number[] => values

describe('the goal of queries through adapters', () => {
  const judge = (ours: number, control?: readonly number[]) =>
    queriesThroughAdapters.judge(
      comparisons('adapters', [
        comparison('pg, 1 task', { 'pg-iam': only(1) }),
        comparison('knex, 5 tasks', { 'pg-iam': only(ours) }, control && { control }),
      ]),
    )

  it('is met within the quartiles of the control', () => {
    expect(judge(0.99)).toEqual({
      measured: [
        '0.99x to 1.00x in 2 comparisons, the median of them 0.99x',
        'control 0.98x to 1.02x, the median of them 1.00x',
      ],
      verdict: 'yes',
    })
  })

  it('is missed below them, and says where', () => {
    expect(judge(0.97)).toEqual({
      measured: [
        '0.97x to 1.00x in 2 comparisons, the median of them 0.98x',
        'control 0.98x to 1.02x, the median of them 1.00x',
        'slower: knex, 5 tasks 0.97x (control 0.98x to 1.02x)',
      ],
      verdict: 'no',
    })
  })

  it('is met above them, and says where', () => {
    expect(judge(1.05)).toMatchObject({
      measured: expect.arrayContaining(['faster: knex, 5 tasks 1.05x (control 0.98x to 1.02x)']),
      verdict: 'yes',
    })
  })

  it('is met where there is no difference, though the control says that there is one', () => {
    expect(judge(1, [1.03, 1.04, 1.05])).toMatchObject({ verdict: 'yes' })
    expect(judge(1, [0.93, 0.94, 0.95])).toMatchObject({ verdict: 'yes' })
  })

  it('is too noisy to tell where the control is far from itself, but missed all the same beyond that', () => {
    const noisy = [0.5, 0.7, 1, 1.3, 2]
    expect(judge(0.8, noisy)).toMatchObject({
      measured: expect.arrayContaining(['the control is too noisy in 1 of 2']),
      verdict: 'too noisy',
    })
    expect(judge(0.6, noisy)).toMatchObject({ verdict: 'no' })
    expect(judge(1.4, noisy)).toMatchObject({ verdict: 'yes' })
  })
})

describe('the goal of queries with signed tokens', () => {
  const ratios = (
    name: string,
    [instant, environment, slow]: readonly [number, number, number],
  ) => ({
    [`${name}, instant credentials`]: [instant],
    [`${name}, environment credentials`]: [environment],
    [`${name}, 2 ms credentials`]: [slow],
  })
  const judge = (ours: readonly [number, number, number]) =>
    queriesWithSignedTokens.judge(
      comparisons('connector', [
        comparison('signed tokens, 1 task', {
          ...ratios('pg-iam', ours),
          ...ratios('AWS connector', [0.48, 0.44, 0.14]),
        }),
      ]),
    )

  it('is about pg-iam, and shows the connector beside it', () => {
    expect(judge([1, 0.99, 1.01])).toEqual({
      measured: [
        'signed tokens, 1 task: 1.00x / 0.99x / 1.01x, AWS connector 0.48x / 0.44x / 0.14x, control 0.98x to 1.02x',
      ],
      verdict: 'yes',
    })
    expect(judge([1, 0.99, 0.9])).toMatchObject({ verdict: 'no' })
  })
})

describe.each([
  [connectionsAtOnce, 'connects/at-once'],
  [connectionsOneByOne, 'connects/one-by-one'],
])('the goal of connections', (goal, section) => {
  it(`is 1.02x of the time for every client, in ${section}`, () => {
    expect(goal.section).toBe(section)
    const judge = (ours: number) =>
      goal.judge(
        comparisons(
          'given',
          [
            comparison('pg', { 'pg-iam': [0.9], 'AWS connector': [1.5] }),
            comparison('Postgres.js', { 'pg-iam': [ours] }),
          ],
          { better: 'less' },
        ),
      )
    expect(judge(1.02)).toEqual({
      measured: [
        'pg: 0.90x, AWS connector 1.50x, control 0.98x to 1.02x',
        'Postgres.js: 1.02x, control 0.98x to 1.02x',
      ],
      verdict: 'yes',
    })
    expect(judge(1.03)).toMatchObject({ verdict: 'no' })
  })
})

describe('the goals of tokens', () => {
  const judgeCounts = (calls: number, tokens: number) =>
    tokensForQueries.judge(
      counts('counts', [
        { name: 'pg-iam', counts: { 'credentials calls': calls, tokens } },
        { name: 'AWS connector', counts: { 'credentials calls': 1_000, tokens: 1_000 } },
      ]),
    )

  it('are one credentials call and five tokens', () => {
    expect(judgeCounts(1, 5)).toEqual({
      measured: ['1 and 5', 'AWS connector 1,000 and 1,000'],
      verdict: 'yes',
    })
    expect(judgeCounts(2, 5)).toMatchObject({ verdict: 'no' })
    expect(judgeCounts(1, 6)).toMatchObject({ verdict: 'no' })
  })

  it.each([
    ['Aurora DSQL', auroraDsqlToken],
    ['RDS', rdsToken],
  ])('are the time of the signer alone, for %s', (provider, goal) => {
    const judge = (ours: number, control?: readonly number[]) => {
      const others = { 'signer, new for each': [1.04], 'pg-iam': [ours] }
      const about = { baseline: 'signer, reused', figure: 30, ...(control && { control }) }
      const own = comparison(provider, others, about)
      const other = comparison('another', { ...others, 'pg-iam': [9] })
      return goal.judge(comparisons('signed', [other, own], { better: 'less', unit: 'µs' }))
    }
    expect(judge(1.01)).toEqual({
      measured: [
        '1.01x: 30.3 µs against 30.0 µs',
        'signer, new for each 1.04x; control 0.98x to 1.02x',
      ],
      verdict: 'yes',
    })
    expect(judge(1.05)).toMatchObject({ verdict: 'no' })
    expect(judge(0.8)).toMatchObject({ verdict: 'yes' })
    expect(judge(1, [0.93, 0.94, 0.95])).toMatchObject({ verdict: 'yes' })
  })
})

describe('the goals of cold starts', () => {
  it('are less than 15 ms for the import of core, in both formats', () => {
    const ofIt = (cjs: number) => [
      comparison('import, ESM', { 'pg-iam': [0.2] }, { baseline: 'AWS connector', figure: 50 }),
      comparison(
        'require, CommonJS',
        { 'pg-iam': [cjs] },
        { baseline: 'AWS connector', figure: 50 },
      ),
    ]
    expect(importOfCore.judge(comparisons('imports', ofIt(0.28), { unit: 'ms' }))).toEqual({
      measured: [
        'import, ESM: 10.0 ms, AWS connector 50.0 ms',
        'require, CommonJS: 14.0 ms, AWS connector 50.0 ms',
      ],
      verdict: 'yes',
    })
    expect(verdictOf(importOfCore, ofIt(0.3), 'less')).toBe('no')
  })

  const ofAuroraDsql = (alone: number, bundle: number) => [
    comparison('Aurora DSQL, ESM', {
      'pg-iam': [alone],
      'pg-iam with pg': [0.5],
      'pg alone, no token': [0.45],
    }),
    comparison('Entra ID, ESM', { 'pg-iam with pg': [3] }),
    comparison('Aurora DSQL, bundle', { 'pg-iam, Aurora DSQL, pg': [bundle] }),
  ]

  it('are half of the time to the first token for Aurora DSQL', () => {
    const section = comparisons('first-token', ofAuroraDsql(0.5, 0.9), { unit: 'ms' })
    expect(firstTokenForAuroraDsql.judge(section)).toEqual({
      measured: ['ESM: 0.50x, 50 ms against 100 ms'],
      verdict: 'yes',
    })
    expect(verdictOf(firstTokenForAuroraDsql, ofAuroraDsql(0.51, 0.1), 'less')).toBe('no')
  })

  it('are the same with pg, in every format', () => {
    const section = comparisons('first-token', ofAuroraDsql(0.9, 0.4), { unit: 'ms' })
    expect(firstTokenWithPg.judge(section)).toEqual({
      measured: [
        'ESM: 0.50x, 50 ms against 100 ms; pg alone, no token: 0.45x',
        'bundle: 0.40x, 40 ms against 100 ms',
      ],
      verdict: 'yes',
    })
    expect(verdictOf(firstTokenWithPg, ofAuroraDsql(0.1, 0.51), 'less')).toBe('no')
  })

  it('are no more than the time of the other for Entra ID', () => {
    const ofIt = (ours: number) => [
      comparison('Entra ID, ESM', { 'pg-iam with pg': [ours] }),
      comparison('Entra ID, bundle', { 'pg-iam, Entra ID, pg': [0.9] }),
    ]
    expect(verdictOf(firstTokenForEntra, ofIt(1), 'less')).toBe('yes')
    expect(verdictOf(firstTokenForEntra, ofIt(1.01), 'less')).toBe('no')
  })

  it('show the sizes of bundles, for which there is none', () => {
    const rows = Object.entries({
      'AWS connector': 499_661,
      'pg-iam, Aurora DSQL, pg': 542_204,
      'AWS connector, AWS SDK of Lambda': 117_200,
      'pg-iam, Aurora DSQL, pg, AWS SDK of Lambda': 149_900,
      '@azure/postgresql-auth, pg': 465_281,
      'pg-iam, Entra ID, pg': 558_457,
    }).map(([name, bytes]) => ({ name, counts: { bytes } }))
    expect(sizesOfBundles.judge(counts('bundles', rows))).toEqual({
      measured: [
        'pg-iam, Aurora DSQL, pg: 542 kB; AWS connector: 500 kB',
        'pg-iam, Aurora DSQL, pg, AWS SDK of Lambda: 150 kB; AWS connector, AWS SDK of Lambda: 117 kB',
        'pg-iam, Entra ID, pg: 558 kB; @azure/postgresql-auth, pg: 465 kB',
      ],
      verdict: 'no goal',
    })
  })
})

describe.each(GOALS.map((goal) => [goal.what, goal] as const))('the goal "%s"', (_, goal) => {
  it('was not measured where its section lacks pg-iam, in part, too, or is of another kind', () => {
    const without = comparisons('given', [comparison('pg, 1 task', { other: [1] })])
    expect(goal.judge(without)).toBeUndefined()
    expect(goal.judge(comparisons('given', []))).toBeUndefined()
    const inPart = [comparison('pg', { 'pg-iam': [1] }), comparison('knex', { other: [1] })]
    expect(goal.judge(comparisons('given', inPart))).toBeUndefined()
    expect(goal.judge(counts('given', [{ name: 'other', counts: { tokens: 5 } }]))).toBeUndefined()
  })
})

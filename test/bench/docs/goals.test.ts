import { GOALS } from '../../../bench/docs/goals/goals.js'
import { connectionsAtOnce, connectionsOneByOne } from '../../../bench/docs/goals/connects.js'
import {
  queriesThroughAdapters,
  queriesWithSignedTokens,
} from '../../../bench/docs/goals/queries.js'
import { auroraDsqlToken, rdsToken, tokensForQueries } from '../../../bench/docs/goals/tokens.js'
import { comparison, comparisons, counts } from './given-results.js'

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
  ])('are at most 1.2 times the time of the signer alone, for %s', (provider, goal) => {
    const judge = (ours: number) => {
      const others = { 'pg-iam': [ours], 'pg-iam, built-in signer': [0.3] }
      const own = comparison(provider, others, { baseline: 'signer, reused', figure: 30 })
      const other = comparison('another', { ...others, 'pg-iam': [9] })
      return goal.judge(comparisons('signed', [other, own], { better: 'less', unit: 'µs' }))
    }
    expect(judge(1.1)).toEqual({
      measured: [
        '1.10x: 33.0 µs against 30.0 µs; control 0.98x to 1.02x',
        'built-in signer 0.30x: 9.0 µs',
      ],
      verdict: 'yes',
    })
    expect(judge(1.2)).toMatchObject({ verdict: 'yes' })
    expect(judge(1.21)).toMatchObject({ verdict: 'no' })
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

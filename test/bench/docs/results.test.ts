import { latestOf, parseRun } from '../../../bench/docs/results.js'
import { counts, runOf } from './given-results.js'

const tokens = (count: number) => [
  counts('counts', [{ name: 'pg-iam', counts: { tokens: count } }]),
]

describe('the results of several runs', () => {
  const monday = runOf(
    { tokens: tokens(1), queries: tokens(2) },
    { startedAt: '2026-11-23T20:00:00.000Z' },
  )
  const tuesday = runOf({ tokens: tokens(3) }, { startedAt: '2026-11-24T20:00:00.000Z', seed: 7 })

  it('are the latest of each benchmark, with the run that it is from, in the order of the page', () => {
    for (const runs of [
      [monday, tuesday],
      [tuesday, monday],
    ]) {
      expect(latestOf(runs, ['queries', 'connects', 'tokens'])).toEqual([
        { name: 'queries', sections: tokens(2), run: monday },
        { name: 'tokens', sections: tokens(3), run: tuesday },
      ])
    }
  })

  it('keep a benchmark that has no place in the order, as the last', () => {
    expect(latestOf([monday], ['queries']).map(({ name }) => name)).toEqual(['queries', 'tokens'])
  })
})

describe('a file of results', () => {
  it('is read as it was written', () => {
    const run = runOf({ tokens: tokens(5) })
    expect(parseRun(JSON.stringify(run), 'one.json')).toEqual(run)
  })

  it('is of a run that left nothing out, where it does not say', () => {
    const { leftOut: _, ...run } = runOf({ tokens: tokens(5) })
    expect(parseRun(JSON.stringify(run), 'one.json').leftOut).toEqual([])
  })

  it('is refused where it was measured with --quick', () => {
    const text = JSON.stringify(runOf({ tokens: tokens(5) }, { isQuick: true }))
    expect(() => parseRun(text, 'one.json')).toThrow(
      'one.json was measured with "--quick": its figures are worth nothing',
    )
  })

  it.each([
    ['no JSON', 'tokens 5'],
    ['JSON of something else', '{"name":"pg-iam"}'],
    ['nothing', 'null'],
    [
      'a result without the load before it',
      JSON.stringify({ ...runOf({}), loadBefore: undefined }),
    ],
  ])('is refused where it is %s', (_, text) => {
    expect(() => parseRun(text, 'one.json')).toThrow(
      'one.json is no result of "npm run bench -- --json FILE"',
    )
  })
})

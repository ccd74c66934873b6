import type { Goal } from '../../../bench/docs/goals/goal.js'
import {
  firstTokenBuiltIn,
  firstTokenForAuroraDsql,
  firstTokenForEntra,
  importOfCore,
  sizesOfBundles,
} from '../../../bench/docs/goals/start.js'
import type { Comparison } from '../../../bench/frame/benchmark.js'
import { comparison, comparisons, counts } from './given-results.js'

const verdictOf = (goal: Goal, ofIt: readonly Comparison[]): unknown =>
  goal.judge(comparisons('given', ofIt, { better: 'less', unit: 'ms' }))?.verdict

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
    expect(verdictOf(importOfCore, ofIt(0.3))).toBe('no')
  })

  const ofAuroraDsql = (withPg: number, builtIn: number) => [
    comparison('Aurora DSQL, ESM', {
      'pg-iam with pg': [withPg],
      'pg-iam, built-in signer': [builtIn],
      'pg-iam with pg, built-in signer': [0.7],
      'pg alone, no token': [0.45],
    }),
    comparison('Entra ID, ESM', { 'pg-iam with pg': [3] }),
    comparison('Aurora DSQL, bundle', { 'pg-iam, Aurora DSQL, pg': [0.9] }),
  ]

  it("are next to nothing above the connector's time to the first token for Aurora DSQL, in every format", () => {
    const section = comparisons('first-token', ofAuroraDsql(1.05, 0.9), { unit: 'ms' })
    expect(firstTokenForAuroraDsql.judge(section)).toEqual({
      measured: [
        'ESM: 1.05x, 105 ms against 100 ms; pg alone, no token: 0.45x',
        'bundle: 0.90x, 90 ms against 100 ms',
      ],
      verdict: 'yes',
    })
    expect(verdictOf(firstTokenForAuroraDsql, ofAuroraDsql(1.06, 0.1))).toBe('no')
  })

  it('are half of it with the built-in signer', () => {
    const section = comparisons('first-token', ofAuroraDsql(0.9, 0.5).slice(0, 2), { unit: 'ms' })
    expect(firstTokenBuiltIn.judge(section)).toEqual({
      measured: ['ESM: 0.50x, 50 ms against 100 ms; pg-iam with pg, built-in signer: 0.70x'],
      verdict: 'yes',
    })
    expect(verdictOf(firstTokenBuiltIn, ofAuroraDsql(0.1, 0.51))).toBe('no')
  })

  it('are no more than the time of the other for Entra ID', () => {
    const ofIt = (ours: number) => [
      comparison('Entra ID, ESM', { 'pg-iam with pg': [ours] }),
      comparison('Entra ID, bundle', { 'pg-iam, Entra ID, pg': [0.9] }),
    ]
    expect(verdictOf(firstTokenForEntra, ofIt(1))).toBe('yes')
    expect(verdictOf(firstTokenForEntra, ofIt(1.01))).toBe('no')
  })

  it('show the sizes of bundles, for which there is none', () => {
    const rows = Object.entries({
      'AWS connector': 499_661,
      'pg-iam, Aurora DSQL, pg': 542_204,
      'pg-iam, Aurora DSQL, pg, built-in signer': 149_800,
      'AWS connector, AWS SDK of Lambda': 117_200,
      'pg-iam, Aurora DSQL, pg, AWS SDK of Lambda': 149_900,
      '@azure/postgresql-auth, pg': 465_281,
      'pg-iam, Entra ID, pg': 558_457,
    }).map(([name, bytes]) => ({ name, counts: { bytes } }))
    expect(sizesOfBundles.judge(counts('bundles', rows))).toEqual({
      measured: [
        'pg-iam, Aurora DSQL, pg: 542 kB; AWS connector: 500 kB',
        'pg-iam, Aurora DSQL, pg, built-in signer: 150 kB; AWS connector: 500 kB',
        'pg-iam, Aurora DSQL, pg, AWS SDK of Lambda: 150 kB; AWS connector, AWS SDK of Lambda: 117 kB',
        'pg-iam, Entra ID, pg: 558 kB; @azure/postgresql-auth, pg: 465 kB',
      ],
      verdict: 'no goal',
    })
  })
})

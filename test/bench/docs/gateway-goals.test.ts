import {
  connectsThroughGateway,
  queriesThroughGateway,
  tokenChecks,
} from '../../../bench/docs/goals/gateway.js'
import { comparison, comparisons, counts } from './given-results.js'

const baseline = 'PostgreSQL'
const CHECK = "pg-iam gateway's check"

describe('the goals of the gateway', () => {
  it('are 0.8x of the transactions, for every kind of them', () => {
    const judge = (prepared: number) =>
      queriesThroughGateway.judge(
        comparisons('queries', [
          comparison('select-only, simple, 1 client', { 'pg-iam gateway': [0.8] }, { baseline }),
          comparison('select-only, prepared, 4 clients', {
            'pg-iam gateway': [prepared],
            'a relay in Node, nothing else': [0.85],
          }),
        ]),
      )
    expect(judge(0.9)).toEqual({
      measured: [
        'select-only, simple, 1 client: 0.80x, control 0.98x to 1.02x',
        'select-only, prepared, 4 clients: 0.90x, a mere relay 0.85x, control 0.98x to 1.02x',
      ],
      verdict: 'yes',
    })
    expect(judge(0.79)).toMatchObject({ verdict: 'no' })
  })

  it('are 0.5 ms for a connection, one by one', () => {
    const judge = (oneByOne: number) =>
      connectsThroughGateway.judge(
        counts('connect-cost', [
          { name: '50 one by one', counts: { 'ms added': oneByOne, 'lower quartile': 0 } },
          { name: '50 at once', counts: { 'ms added': 3 } },
        ]),
      )
    expect(judge(0.5)).toEqual({
      measured: ['50 one by one: 0.50 ms', '50 at once: 3.00 ms'],
      verdict: 'yes',
    })
    expect(judge(0.51)).toMatchObject({ verdict: 'no' })
  })

  it('are ten checks of any kind of token in the time of one connection', () => {
    const judge = (rds: number) =>
      tokenChecks.judge(
        comparisons('checks', [
          comparison(
            'one process',
            { [`${CHECK}, Aurora DSQL`]: [30], [`${CHECK}, RDS`]: [rds] },
            { baseline: 'connections, 50 at once', figure: 1_000 },
          ),
        ]),
      )
    expect(judge(10)).toEqual({
      measured: [
        'Aurora DSQL: 30,000 a second, 30 in one connection',
        'RDS: 10,000 a second, 10 in one connection',
      ],
      verdict: 'yes',
    })
    expect(judge(9)).toMatchObject({ verdict: 'no' })
  })
})

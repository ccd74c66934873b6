import {
  connectionsByNumber,
  externalOverConnections,
  externalOverTokens,
  heapOverConnections,
  heapOverTokens,
  makingOfManyLogins,
  ownPartOfConnections,
  tokensOfManyLogins,
} from '../../../bench/docs/goals/growth.js'
import type { Curve } from '../../../bench/frame/benchmark.js'
import { curves } from './given-results.js'

const curve = (name: string, slope: number, error: number, against?: string): Curve => ({
  name,
  ...(against === undefined ? {} : { against }),
  points: [],
  fit: { whole: 99, firstHalf: 99, secondHalf: slope, secondHalfError: error },
})

describe.each([
  ['memory/tokens-heap', heapOverTokens],
  ['memory/tokens-external', externalOverTokens],
  ['memory/connections-heap', heapOverConnections],
  ['memory/connections-external', externalOverConnections],
])('the goal of %s', (section, goal) => {
  const judge = (slope: number, error: number, other = 2) =>
    goal.judge(
      curves('heap', [
        curve('pg, pg-iam', slope, error, 'pg, static password'),
        curve('pg, static password', other, 0),
        curve('pg-iam, Entra ID', -1, 0.1),
      ]),
    )

  it('is met where what grows beyond the other is surely less than a pointer', () => {
    expect(goal.section).toBe(section)
    expect(judge(5, 1)).toEqual({
      measured: [
        'pg, pg-iam: 5.0 ± 1.0 bytes; pg, static password: 2.0 ± 0.0 bytes',
        'pg-iam, Entra ID: -1.0 ± 0.1 bytes',
      ],
      verdict: 'yes',
    })
    expect(judge(100, 1, 100)).toMatchObject({ verdict: 'yes' })
  })

  it('is missed where it is surely more', () => {
    expect(judge(100, 1)).toMatchObject({ verdict: 'no' })
  })

  it('is too noisy to tell in between', () => {
    expect(judge(9, 1)).toMatchObject({ verdict: 'too noisy' })
    expect(judge(11, 1)).toMatchObject({ verdict: 'too noisy' })
  })

  it('takes nothing off where the other shrinks', () => {
    expect(judge(5, 1, -50)).toMatchObject({ verdict: 'yes' })
  })
})

describe.each([
  ['scale/logins-token', tokensOfManyLogins],
  ['scale/logins-create', makingOfManyLogins],
  ['scale/own-part', ownPartOfConnections],
  ['scale/at-once-cpu', connectionsByNumber],
])('the goal of %s', (section, goal) => {
  const judge = (exponent: number, error: number) =>
    goal.judge(curves('cost', [curve('pg-iam, RDS', exponent, error), curve('pg-iam', 0, 0)]))

  it('is met by the cost of one that stays, and missed by one that grows with their number', () => {
    expect(goal.section).toBe(section)
    expect(judge(0.05, 0.02)).toEqual({
      measured: ['pg-iam, RDS: 0.05 ± 0.02', 'pg-iam: 0.00 ± 0.00'],
      verdict: 'yes',
    })
    expect(judge(1, 0.1)).toMatchObject({ verdict: 'no' })
    expect(judge(0.2, 0.1)).toMatchObject({ verdict: 'too noisy' })
  })
})

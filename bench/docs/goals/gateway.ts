/** The gateway, against PostgreSQL's own TLS. */
import type { Comparison } from '../../frame/benchmark.js'
import {
  allFound,
  controlOf,
  judgeComparisons,
  met,
  quartiles,
  resultOf,
  times,
  type Goal,
} from './goal.js'

const LEAST_QUERIES = 0.8

export const queriesThroughGateway: Goal = {
  section: 'gateway/queries',
  what: 'Transactions of pgbench through the gateway, by 1, 4 and 16 clients',
  against: "PostgreSQL's own TLS",
  toReach: `${times(LEAST_QUERIES)} or more`,
  judge: judgeComparisons((comparisons) => {
    const ratios = allFound(comparisons.map((one) => resultOf(one, 'pg-iam gateway')?.ratio.median))
    if (ratios === undefined) return undefined
    return {
      measured: comparisons.map(
        (comparison, index) =>
          `${comparison.name}: ${times(ratios[index]!)}${besideIt(comparison)}, control ${quartiles(controlOf(comparison))}`,
      ),
      verdict: met(ratios.every((ratio) => ratio >= LEAST_QUERIES)),
    }
  }),
}

/** What could be reached at all in a process of Node. */
function besideIt(comparison: Comparison): string {
  const relay = resultOf(comparison, 'a relay in Node, nothing else')
  return relay === undefined ? '' : `, a mere relay ${times(relay.ratio.median)}`
}

const MOST_MS_ADDED = 0.5

export const connectsThroughGateway: Goal = {
  section: 'gateway/connect-cost',
  what: 'What the gateway adds to a connection, one by one',
  against: "PostgreSQL's own TLS",
  toReach: `${MOST_MS_ADDED} ms or less`,
  judge(section) {
    if (section.kind !== 'counts') return undefined
    const rows = section.rows.map(({ name, counts }) => ({ name, added: counts['ms added'] }))
    const goal = rows.find(({ name }) => name.endsWith('one by one'))
    if (goal?.added === undefined) return undefined
    return {
      measured: rows.flatMap(({ name, added }) =>
        added === undefined ? [] : [`${name}: ${added.toFixed(2)} ms`],
      ),
      verdict: met(goal.added <= MOST_MS_ADDED),
    }
  },
}

const CHECK = "pg-iam gateway's check, "

/** So many in the time of one connection: what is a tenth of the work does not hold it up. */
const LEAST_CHECKS = 10

export const tokenChecks: Goal = {
  section: 'gateway/checks',
  what: 'Token checks a second, of each kind of token',
  against: 'connections through the gateway, at once',
  toReach: `${LEAST_CHECKS} checks or more in the time of one connection`,
  judge: judgeComparisons((comparisons) => {
    const checks = comparisons
      .flatMap(({ results }) => results)
      .filter(({ name }) => name.startsWith(CHECK))
    if (checks.length === 0) return undefined
    return {
      measured: checks.map(
        ({ name, figure, ratio }) =>
          `${name.slice(CHECK.length)}: ${Math.round(figure.median).toLocaleString('en-GB')} a second, ${ratio.median.toFixed(0)} in one connection`,
      ),
      verdict: met(checks.every(({ ratio }) => ratio.median >= LEAST_CHECKS)),
    }
  }),
}

/** New connections: directly, and through the gateway, which checks a token for each; and what it adds to one. */
import type {
  BenchContext,
  Comparison,
  ComparisonSection,
  CountRow,
  CountSection,
} from '../frame/benchmark.js'
import type { Effort } from '../frame/compare.js'
import { summarize } from '../frame/statistics.js'
import { compareWays, type Done } from './compare-ways.js'
import { atOnce, millisecondsEach, oneByOne, type OpenAll } from './opened.js'
import type { Stage, Way } from './stage.js'

export async function connectsThroughGateway(
  stage: Stage,
  context: BenchContext,
): Promise<[ComparisonSection, CountSection]> {
  const { connections, effort } = context.isQuick ? QUICK : FULL
  const comparisons: Comparison[] = []
  const rows: CountRow[] = []
  for (const [how, openAll] of Object.entries(WAYS_TO_OPEN)) {
    const name = `${connections} ${how}`
    context.progress(`connections, ${name}`)
    const work = async (way: Way): Promise<Done> => ({
      figure: await millisecondsEach(openAll, connections, way),
      number: connections,
    })
    const { comparison, cpu } = await compareWays(name, work, effort, stage, context)
    comparisons.push(comparison)
    rows.push(costRow(comparison, cpu))
  }
  return [
    {
      kind: 'comparison',
      name: 'connects',
      title: 'New connections',
      notes: [
        'The time until all are ready for a query, divided by their number; by pg, over verified TLS. PostgreSQL checks a password, and the',
        "gateway a token for RDS, which was signed before. Client, gateway and server share the machine's processors.",
        stage.tls,
      ],
      unit: 'ms a connection',
      better: 'less',
      comparisons,
    },
    {
      kind: 'counts',
      name: 'connect-cost',
      title: 'What the gateway adds to a connection',
      notes: [
        'From the pairs of each round of the table above: the median of the differences, and their quartiles. The goal is 0.5 ms at',
        'most, one by one. The processor time is that of its process, with the end of the session.',
      ],
      rows,
    },
  ]
}

interface ConnectsLoad {
  readonly connections: number
  readonly effort: Effort
}

const FULL: ConnectsLoad = { connections: 50, effort: { rounds: 21, warmUpRounds: 2 } }
const QUICK: ConnectsLoad = { connections: 5, effort: { rounds: 2, warmUpRounds: 0 } }

const WAYS_TO_OPEN: Readonly<Record<string, OpenAll>> = {
  'one by one': oneByOne,
  'at once': atOnce,
}

/** @param cpu microseconds for a connection, one figure for each round */
function costRow({ name, baseline, results }: Comparison, cpu: readonly number[]): CountRow {
  const direct = results.find((result) => result.name === baseline)!
  const through = results.at(-1)!
  const added = summarize(through.samples.map((sample, round) => sample - direct.samples[round]!))
  return {
    name,
    counts: {
      'ms added': toHundredths(added.median),
      'lower quartile': toHundredths(added.lowerQuartile),
      'upper quartile': toHundredths(added.upperQuartile),
      'ms of processor time': toHundredths(summarize(cpu).median / 1_000),
    },
  }
}

function toHundredths(figure: number): number {
  return Math.round(figure * 100) / 100
}

/** What pg-iam itself adds to a connection, by how many are asked for at once. */
import { askProcess } from '../common/process/start-process.js'
import type { BenchContext, CurveSection, SectionText } from '../frame/benchmark.js'
import { summarize } from '../frame/statistics.js'
import { growingCost } from './growing-cost.js'
import { PACES, WHOLE, type OwnPartFigures, type OwnPartOrder } from './orders.js'

export async function ownPart({ isQuick, progress }: BenchContext): Promise<CurveSection[]> {
  progress('connections without a network')
  const load = isQuick ? QUICK : FULL
  return [
    await measured(
      { name: 'pace', title: 'The pace of connections asked for at once', notes: PACE_NOTES },
      { parts: PACES, ...load.pace },
    ),
    await measured(
      {
        name: 'own-part',
        title: "pg-iam's own part of connections asked for at once",
        notes: WHOLE_NOTES,
      },
      { parts: WHOLE, ...load.whole },
    ),
  ]
}

type Load = Omit<OwnPartOrder, 'parts'>

const FULL: Readonly<Record<'pace' | 'whole', Load>> = {
  pace: {
    counts: [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000],
    connections: 30_000,
    rounds: 5,
  },
  whole: {
    counts: [10, 30, 100, 300, 1_000, 3_000, 10_000],
    connections: 3_000,
    rounds: 5,
  },
}
const QUICK: typeof FULL = {
  pace: { counts: [100, 200, 400], connections: 2_000, rounds: 1 },
  whole: { counts: [100, 200, 400], connections: 2_000, rounds: 1 },
}

async function measured(text: SectionText, order: OwnPartOrder): Promise<CurveSection> {
  const file = new URL('child/own-part.js', import.meta.url)
  const figures = await askProcess<readonly OwnPartFigures[]>(file, order)
  return growingCost(
    text,
    'connections',
    { label: 'processor time for one', unit: 'µs' },
    order.parts.map((part) => ({
      name: part,
      points: figures
        .filter((one) => one.part === part)
        .map(({ connections, micros }) => ({ x: connections, y: summarize(micros).median })),
    })),
  )
}

const PACE_NOTES = [
  'What decides when each may be dialled, which all that come at once pass one behind the other. Nothing is dialled; where they have to',
  'wait, the clock is set forward.',
]
const WHOLE_NOTES = [
  'One login; its pace, endpoints, time limits and tokens are as ever. There is no network: in place of dialling, TLS and authentication',
  'the connection is there in the next turn of the event loop, and there is no driver. "after a refusal": the server has just refused a',
  'connection with 53300, so that they go one by one at first.',
]

/** What a token, and a login, cost where a process has many logins. */
import { askProcess } from '../common/process/start-process.js'
import type { BenchContext, CurveSection, Point } from '../frame/benchmark.js'
import { fitCurve } from '../frame/fit.js'
import { summarize } from '../frame/statistics.js'
import { growingCost, type CostCurve } from './growing-cost.js'
import { PROVIDERS, type LoginsFigures, type LoginsOrder } from './orders.js'

export async function manyLogins({
  isQuick,
  random,
  progress,
}: BenchContext): Promise<CurveSection[]> {
  progress('logins')
  const order: LoginsOrder = { ...(isQuick ? QUICK : FULL), seed: Math.floor(random() * 2 ** 32) }
  const file = new URL('child/logins.js', import.meta.url)
  const figures = await askProcess<readonly LoginsFigures[]>(file, order, ['--expose-gc'])
  const curves = (samplesOf: (one: LoginsFigures) => readonly number[]): CostCurve[] =>
    PROVIDERS.map((provider) => ({
      name: `pg-iam, ${provider}`,
      points: figures
        .filter((one) => one.provider === provider)
        .map((one): Point => ({ x: one.logins, y: summarize(samplesOf(one)).median })),
    }))
  return [
    growingCost(
      { name: 'logins-token', title: 'One token, of many logins in turn', notes: TOKEN_NOTES },
      'logins',
      { label: 'time of one token', unit: 'µs' },
      curves(({ tokenMicros }) => tokenMicros),
    ),
    growingCost(
      { name: 'logins-create', title: 'One login, made beside many', notes: CREATE_NOTES },
      'logins',
      { label: 'time to make one', unit: 'µs' },
      curves(({ createMicros }) => createMicros),
    ),
    {
      kind: 'curves',
      name: 'logins-memory',
      title: 'The heap that logins hold',
      notes: MEMORY_NOTES,
      x: { label: 'logins', unit: '' },
      y: { label: 'heap of all', unit: 'kB' },
      fit: 'slope',
      curves: curves(({ heapBytes }) => heapBytes.map((bytes) => bytes / 1_000)).map((curve) => ({
        ...curve,
        fit: fitCurve('slope', curve.points),
      })),
    },
  ]
}

const FULL: Omit<LoginsOrder, 'seed'> = {
  counts: [1, 2, 4, 8, 16, 32, 64],
  rounds: 11,
  tokens: 640,
  created: 640,
}
const QUICK: Omit<LoginsOrder, 'seed'> = { counts: [1, 2, 4], rounds: 1, tokens: 8, created: 8 }

const TOKEN_NOTES = [
  'Each login is to a database of its own, and gives a new token each time, in turn with all others; the credentials come from',
  'a function that answers at once. The median of all rounds.',
]
const CREATE_NOTES = [
  'Options are checked, and nothing is loaded or signed. The median of all rounds.',
]
const MEMORY_NOTES = [
  'Each login has made one token; what is left after a collection, which frees some of what was there before, too: what counts is the',
  'slope, in kB for one login.',
]

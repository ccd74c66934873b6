/** The charts of the benchmark. */
import { curve, type Period } from '../figures.js'
import type { FleetRecord } from '../recorder.js'
import { REGION_TIMES, START_SECS, soonestSecs, type FleetSize } from '../scenarios.js'
import { lineChart, type Line } from './line-chart.js'

/** The records of one scenario by the names of the policies, those of interest last. */
export type Records = ReadonlyMap<string, FleetRecord>

export function startChart(records: Records, size: FleetSize): string {
  const period = { from: 0, to: 120 }
  const best = allowed(size, 0, period)
  return lineChart({
    title: 'Every process starts at once',
    x: { label: 'seconds', ...period, tickEvery: 10 },
    panels: [
      {
        title: 'Logins a second, accepted and refused',
        scale: 'logarithmic',
        top: 1_000_000,
        lines: linesOf(records, ({ counts }) => curve(counts.attempts, period, 1)),
      },
      {
        title: 'Open connections',
        scale: 'linear',
        top: wantedOf(size),
        lines: [...linesOf(records, ({ open }) => curve(open, period, 1)), best],
      },
    ],
  })
}

export function lifetimesChart(records: Records, size: FleetSize, hours: number): string {
  const period = { from: START_SECS, to: hours * 3_600 }
  return lineChart({
    title: 'Lifetimes come round, after a start at once',
    x: { label: 'minutes', from: 0, to: hours * 60, tickEvery: 30 },
    panels: [
      {
        title: 'New connections a second, in the busiest second of each minute',
        scale: 'logarithmic',
        top: 10_000,
        lines: linesOf(records, ({ counts }) => inMinutes(curve(counts.opened, period, 60))),
      },
      {
        title: 'Open connections, in the worst moment of each minute',
        scale: 'linear',
        top: wantedOf(size),
        lines: linesOf(records, ({ fewestOpen }) =>
          inMinutes(curve(fewestOpen, period, 60, 'smallest')),
        ),
      },
    ],
  })
}

export function regionFailsChart(records: Records, size: FleetSize): string {
  const { failsAtSec } = REGION_TIMES
  const period = { from: failsAtSec - 10, to: failsAtSec + 130 }
  const since = (points: [number, number][]): [number, number][] =>
    points.map(([at, value]) => [at - failsAtSec, value])
  const best = allowed(size, failsAtSec, period)
  return lineChart({
    title: 'A Region fails, and another takes its place',
    x: { label: 'seconds after the failure', from: -10, to: 130, tickEvery: 10 },
    panels: [
      {
        title: 'Logins a second: accepted, refused, and not answered',
        scale: 'logarithmic',
        top: 100_000,
        lines: linesOf(records, ({ counts }) => since(curve(counts.attempts, period, 1))),
      },
      {
        title: 'Open connections',
        scale: 'linear',
        top: wantedOf(size),
        lines: [
          ...linesOf(records, ({ open }) => since(curve(open, period, 1))),
          { ...best, points: since(best.points as [number, number][]) },
        ],
      },
    ],
  })
}

export function regionReturnsChart(records: Records, size: FleetSize, home: string): string {
  const period = { from: REGION_TIMES.failsAtSec, to: 6_000 }
  return lineChart({
    title: 'The Region returns, and the fleet goes home as its connections age',
    x: { label: 'minutes', from: 15, to: 100, tickEvery: 5 },
    panels: [
      {
        title: 'New connections a second, in the busiest second of each 20',
        scale: 'logarithmic',
        top: 10_000,
        lines: linesOf(records, ({ counts }) => inMinutes(curve(counts.opened, period, 20))),
      },
      {
        title: 'Open connections to the first Region',
        scale: 'linear',
        top: wantedOf(size),
        lines: linesOf(records, ({ openTo }) =>
          inMinutes(curve(openTo.get(home) ?? new Float64Array(period.to), period, 20)),
        ),
      },
    ],
  })
}

const COLOURS: Readonly<Record<string, string>> = {
  'pg-iam': '#0969da',
  'pg-iam, rated': '#1a9c8a',
  'immediate retry': '#cf3b4e',
  'retry after 1 s': '#e39b2d',
  'Postgres.js': '#8957c9',
  'no lifetime': '#8c8c8c',
}

function linesOf(records: Records, points: (record: FleetRecord) => [number, number][]): Line[] {
  return [...records].map(([name, record]) => ({
    name,
    colour: COLOURS[name] ?? '#444',
    points: points(record),
  }))
}

/** What the service allows to a fleet that begins anew. */
function allowed(size: FleetSize, fromSec: number, { from, to }: Period): Line {
  const { burst } = size.limits
  const all = fromSec + soonestSecs(wantedOf(size), size.limits)
  const points: [number, number][] = [
    ...(from < fromSec
      ? ([
          [from, wantedOf(size)],
          [fromSec, wantedOf(size)],
        ] as [number, number][])
      : []),
    [fromSec, burst],
    [all, wantedOf(size)],
    [to, wantedOf(size)],
  ]
  return { name: 'what the service allows', colour: '#333', isDashed: true, points }
}

function wantedOf({ processes, connectionsPerProcess }: FleetSize): number {
  return processes * connectionsPerProcess
}

function inMinutes(points: [number, number][]): [number, number][] {
  return points.map(([at, value]) => [at / 60, value])
}

/** The charts of the benchmark. */
import { lineChart, type Line } from '../../common/report/line-chart.js'
import { curve } from '../figures.js'
import type { Records } from '../benchmark.js'
import type { FleetRecord } from '../recorder.js'
import {
  NOTICED_AFTER_SECS,
  REGION_TIMES,
  START_SECS,
  soonestSecs,
  type FleetSize,
} from '../scenarios.js'

export function startChart(records: Records, size: FleetSize): string {
  const period = { from: 0, to: 120 }
  const best = { ...ALLOWED, points: allowed(size, 0, period.to) }
  return lineChart({
    title: 'Every process starts at once',
    x: { label: 'seconds', ...period, tickEvery: 10 },
    panels: [
      {
        title: 'Logins a second, accepted and refused',
        scale: 'logarithmic',
        top: 300_000,
        lines: linesOf(records, ({ counts }) => curve(counts.attempts, period, 1)),
      },
      {
        title: 'Open connections',
        scale: 'linear',
        top: wantedOf(size),
        lines: [...linesOf(records, ({ open }) => secondOver(curve(open, period, 1))), best],
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
        top: 3_000,
        lines: linesOf(records, ({ counts }) => inMinutes(curve(counts.opened, period, 60))),
      },
      {
        title: 'Open connections, in the worst moment of each minute',
        scale: 'linear',
        bottom: 0.9 * wantedOf(size),
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
  const wanted = wantedOf(size)
  const best: Line = {
    ...ALLOWED,
    points: [
      [-10, wanted],
      [0, wanted],
      [0, 0],
      [NOTICED_AFTER_SECS, 0],
      ...allowed(size, NOTICED_AFTER_SECS, 130),
    ],
  }
  return lineChart({
    title: 'A Region fails, and another takes its place',
    x: { label: 'seconds after the failure', from: -10, to: 130, tickEvery: 10 },
    panels: [
      {
        title: 'Logins a second: accepted, refused, and not answered',
        scale: 'logarithmic',
        top: 30_000,
        lines: linesOf(records, ({ counts }) => since(curve(counts.attempts, period, 1))),
      },
      {
        title: 'Open connections',
        scale: 'linear',
        top: wantedOf(size),
        lines: [...linesOf(records, ({ open }) => since(secondOver(curve(open, period, 1)))), best],
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
        top: 3_000,
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

const ALLOWED = { name: 'what the service allows', colour: '#333', isDashed: true }

/** What the service allows to a fleet that begins anew. */
function allowed(size: FleetSize, from: number, to: number): [number, number][] {
  const wanted = wantedOf(size)
  return [
    [from, size.limits.burst],
    [from + soonestSecs(wanted, size.limits), wanted],
    [to, wanted],
  ]
}

function wantedOf({ processes, connectionsPerProcess }: FleetSize): number {
  return processes * connectionsPerProcess
}

/** What was open when a second was over belongs to the end of it. */
function secondOver(points: [number, number][]): [number, number][] {
  return points.map(([at, value]) => [at + 1, value])
}

function inMinutes(points: [number, number][]): [number, number][] {
  return points.map(([at, value]) => [at / 60, value])
}

/** The tables of the benchmark, for the terminal and for the page. */
import type { FigureTable } from '../report.js'
import type { Records } from './benchmark.js'
import { figuresOf, type Period } from './figures.js'
import type { FleetRecord } from './recorder.js'
import {
  MOST,
  NOTICED_AFTER_SECS,
  REGION_TIMES,
  START_SECS,
  soonestSecs,
  type FleetSize,
} from './scenarios.js'

export function startTable(records: Records, size: FleetSize): FigureTable {
  const period = { from: 0, to: START_SECS }
  return {
    title: 'Every process starts at once',
    head: ['', 'logins/s, peak', 'refused', 'failed calls', '99 % open', 'all open'],
    rows: [
      ...rowsOf(records, (name, record) => {
        const figures = figuresOf(record, period)
        const { reachedAfterSecs } = record
        return [
          name,
          whole(figures.peakAttempts),
          whole(figures.refusedForRate + figures.refusedForCount),
          whole(figures.failedCalls),
          seconds(reachedAfterSecs.get('most')),
          seconds(reachedAfterSecs.get('all')),
        ]
      }),
      ['what the service allows', '', '', '', ...soonest(size, 0)],
    ],
  }
}

export function lifetimesTable(records: Records, hours: number): FigureTable {
  const period = { from: START_SECS, to: hours * 3_600 }
  return {
    title: 'Lifetimes come round',
    head: ['', 'new/s, peak', 'new/s, mean', 'refused', 'ended by the service', 'fewest open'],
    rows: rowsOf(records, (name, record) => {
      const figures = figuresOf(record, period)
      return [
        name,
        whole(figures.peakOpened),
        figures.meanOpened.toFixed(1),
        whole(figures.refusedForRate + figures.refusedForCount),
        whole(figures.endedByService),
        whole(figures.fewestOpen),
      ]
    }),
  }
}

export function regionFailsTable(records: Records, size: FleetSize): FigureTable {
  const period: Period = { from: REGION_TIMES.failsAtSec, to: REGION_TIMES.returnsAtSec }
  return {
    title: 'A Region fails',
    head: [
      '',
      'logins/s, peak',
      'refused',
      'not answered',
      'failed calls',
      '99 % open',
      'all open',
    ],
    rows: [
      ...rowsOf(records, (name, record) => {
        const figures = figuresOf(record, period)
        const { reachedAfterSecs } = record
        return [
          name,
          whole(figures.peakAttempts),
          whole(figures.refusedForRate + figures.refusedForCount),
          whole(figures.unanswered),
          whole(figures.failedCalls),
          seconds(reachedAfterSecs.get('most')),
          seconds(reachedAfterSecs.get('all')),
        ]
      }),
      ['what the service allows', '', '', '', '', ...soonest(size, NOTICED_AFTER_SECS)],
    ],
  }
}

export function regionReturnsTable(records: Records): FigureTable {
  return {
    title: 'The Region returns',
    head: ['', 'new/s, peak', 'refused', 'fewest open', '99 % at home', 'all at home'],
    rows: rowsOf(records, (name, record) => {
      const figures = figuresOf(record, { from: REGION_TIMES.returnsAtSec, to: record.open.length })
      const { reachedAfterSecs } = record
      return [
        name,
        whole(figures.peakOpened),
        whole(figures.refusedForRate + figures.refusedForCount),
        whole(figures.fewestOpen),
        minutes(reachedAfterSecs.get('most at home')),
        minutes(reachedAfterSecs.get('all at home')),
      ]
    }),
  }
}

type Row = (name: string, record: FleetRecord) => string[]

/** pg-iam's policies are last in the records, and first in the tables. */
function rowsOf(records: Records, row: Row): string[][] {
  return [...records].toReversed().map(([name, record]) => row(name, record))
}

function soonest({ processes, connectionsPerProcess, limits }: FleetSize, after: number): string[] {
  const wanted = processes * connectionsPerProcess
  return [wanted * MOST, wanted].map((open) => seconds(after + soonestSecs(open, limits)))
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-GB')
}

function seconds(value: number | undefined): string {
  return value === undefined ? 'never' : `${value.toFixed(1)} s`
}

function minutes(value: number | undefined): string {
  return value === undefined ? 'never' : `${(value / 60).toFixed(1)} min`
}

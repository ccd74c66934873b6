/** The figures of a simulation. */
import type { Counted, FleetRecord } from './recorder.js'

/** A range of seconds; the end is exclusive. */
export interface Period {
  from: number
  to: number
}

export interface Figures {
  /** The logins in the busiest second. */
  peakAttempts: number
  /** The new connections in the busiest second. */
  peakOpened: number
  /** The average number of new connections per second. */
  meanOpened: number
  refusedForRate: number
  refusedForCount: number
  unanswered: number
  failedCalls: number
  endedByService: number
  fewestOpen: number
}

export function figuresOf({ counts, fewestOpen }: FleetRecord, period: Period): Figures {
  const within = (list: Float64Array): Float64Array => list.subarray(period.from, period.to)
  const sum = (what: Counted): number => within(counts[what]).reduce((one, other) => one + other, 0)
  const peak = (what: Counted): number => largest(within(counts[what]))
  return {
    peakAttempts: peak('attempts'),
    peakOpened: peak('opened'),
    meanOpened: sum('opened') / (period.to - period.from),
    refusedForRate: sum('53400'),
    refusedForCount: sum('53300'),
    unanswered: sum('unanswered'),
    failedCalls: sum('failedCalls'),
    endedByService: sum('endedByService'),
    fewestOpen: within(fewestOpen).reduce((one, other) => Math.min(one, other), Infinity),
  }
}

/** The points of a curve: one for each `binSecs`, at its start, with the largest or the smallest value in it. */
export function curve(
  list: Float64Array,
  { from, to }: Period,
  binSecs: number,
  which: 'largest' | 'smallest' = 'largest',
): [number, number][] {
  const points: [number, number][] = []
  for (let at = from; at < to; at += binSecs) {
    const bin = list.subarray(at, Math.min(to, at + binSecs))
    points.push([at, which === 'largest' ? largest(bin) : -largest(bin.map((value) => -value))])
  }
  return points
}

function largest(list: Float64Array): number {
  return list.reduce((one, other) => Math.max(one, other), -Infinity)
}

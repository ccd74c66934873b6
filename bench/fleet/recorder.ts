/** Records a simulation per second. */
import type { RefusalCode } from './connection-limiter.js'

/** The counters. `attempts` are logins that reached a Region, available or not; `failedCalls` are errors that the application got. */
export type Counted =
  'attempts' | 'opened' | RefusalCode | 'unanswered' | 'endedByService' | 'failedCalls'

export interface Recorder {
  count(what: Counted): void
  opened(host: string): void
  closed(host: string): void
  /** Starts to watch for the first time at which `target` connections are open, at `host` or anywhere. */
  lookOutFor(name: string, target: number, host?: string): void
  /** The record. It is complete when the last second has passed. */
  readonly record: FleetRecord
}

/** The arrays have one element for each second. */
export interface FleetRecord {
  readonly counts: Readonly<Record<Counted, Float64Array>>
  /** The number of open connections at the end of the second. */
  readonly open: Float64Array
  /** The minimum within the second. */
  readonly fewestOpen: Float64Array
  /** The number of connections to one host at the end of the second. */
  readonly openTo: ReadonlyMap<string, Float64Array>
  /** The seconds from `lookOutFor` until the target was reached. */
  readonly reachedAfterSecs: ReadonlyMap<string, number>
}

export function createRecorder(
  seconds: number,
  hosts: readonly string[],
  now: () => number,
): Recorder {
  const perSecond = (): Float64Array => new Float64Array(seconds)
  const counts: Record<Counted, Float64Array> = {
    attempts: perSecond(),
    opened: perSecond(),
    '53300': perSecond(),
    '53400': perSecond(),
    unanswered: perSecond(),
    endedByService: perSecond(),
    failedCalls: perSecond(),
  }
  const open = perSecond()
  const fewestOpen = perSecond()
  const openTo = new Map(hosts.map((host) => [host, perSecond()]))
  const reachedAfterSecs = new Map<string, number>()
  const lookedFor = new Map<string, () => boolean>()
  let total = 0
  const totals = new Map(hosts.map((host) => [host, 0]))
  let current = 0

  /** Events that are late by less than a second belong to the last second. */
  const second = (): number => Math.min(seconds - 1, Math.floor(now() / 1_000))
  const keep = (): void => {
    open[current] = total
    for (const [host, list] of openTo) list[current] = totals.get(host) as number
  }
  /** Seconds without changes are equal to the previous one. */
  const moveOn = (): void => {
    for (const until = second(); current < until;) {
      keep()
      fewestOpen[++current] = total
    }
  }
  const change = (host: string, by: number): void => {
    moveOn()
    total += by
    totals.set(host, (totals.get(host) as number) + by)
    fewestOpen[current] = Math.min(fewestOpen[current] as number, total)
    for (const [name, isReached] of lookedFor) if (isReached()) lookedFor.delete(name)
  }
  const count = (what: Counted): void => {
    const list = counts[what]
    const at = second()
    list[at] = (list[at] as number) + 1
  }
  return {
    count,
    opened(host) {
      count('opened')
      change(host, 1)
    },
    closed(host) {
      change(host, -1)
    },
    lookOutFor(name, target, host) {
      const since = now()
      lookedFor.set(name, () => {
        if ((host === undefined ? total : (totals.get(host) as number)) < target) return false
        reachedAfterSecs.set(name, (now() - since) / 1_000)
        return true
      })
    },
    get record() {
      moveOn()
      keep()
      return { counts, open, fewestOpen, openTo, reachedAfterSecs }
    },
  }
}

/** What happens in a simulation, second by second. */
import type { RefusalCode } from './connection-limiter.js'

/** What is counted. `attempts` are logins that reached a Region, up or not; `failedCalls` are errors that the application got. */
export type Counted =
  'attempts' | 'opened' | RefusalCode | 'unanswered' | 'endedByService' | 'failedCalls'

export interface Recorder {
  count(what: Counted): void
  opened(host: string): void
  closed(host: string): void
  /** From now on, looks out for the first time at which `target` connections are open, at `host` or anywhere. */
  lookOutFor(name: string, target: number, host?: string): void
  /** Complete when the last second has passed. */
  readonly record: FleetRecord
}

/** The arrays have an element for each second. */
export interface FleetRecord {
  readonly counts: Readonly<Record<Counted, Float64Array>>
  /** The connections that were open when the second was over. */
  readonly open: Float64Array
  /** The fewest within the second. */
  readonly fewestOpen: Float64Array
  /** Those that were open to one host when the second was over. */
  readonly openTo: ReadonlyMap<string, Float64Array>
  /** Seconds from `lookOutFor` until it was reached. */
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

  /** What is late by less than a second belongs to the last one. */
  const second = (): number => Math.min(seconds - 1, Math.floor(now() / 1_000))
  const keep = (): void => {
    open[current] = total
    for (const [host, list] of openTo) list[current] = totals.get(host) as number
  }
  /** Seconds in which nothing changed are as the one before them. */
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

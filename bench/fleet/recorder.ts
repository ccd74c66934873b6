/** What happens in a simulation, second by second. */
import type { RefusalCode } from './connection-limiter.js'

/** What is counted. `attempts` are logins that reached a Region, up or not; `failedCalls` are the errors that the application got. */
export type Counted =
  'attempts' | 'accepted' | RefusalCode | 'unanswered' | 'endedByService' | 'failedCalls'

export interface Recorder {
  count(what: Counted): void
  opened(host: string): void
  closed(host: string): void
  /** From now on, looks out for the first time at which `target` connections are open, at `host` or anywhere. */
  lookOutFor(name: string, target: number, host?: string): void
  readonly record: FleetRecord
}

export interface FleetRecord {
  /** Counts of each second. */
  readonly counts: Readonly<Record<Counted, Float64Array>>
  /** The connections that were open at the end of each second, and the fewest within it. */
  readonly open: Float64Array
  readonly fewestOpen: Float64Array
  /** Milliseconds from `lookOutFor` until it was reached. */
  readonly reachedAfterMs: ReadonlyMap<string, number>
}

export function createRecorder(seconds: number, now: () => number): Recorder {
  const perSecond = (): Float64Array => new Float64Array(seconds)
  const counts: Record<Counted, Float64Array> = {
    attempts: perSecond(),
    accepted: perSecond(),
    '53300': perSecond(),
    '53400': perSecond(),
    unanswered: perSecond(),
    endedByService: perSecond(),
    failedCalls: perSecond(),
  }
  const open = perSecond()
  const fewestOpen = perSecond()
  const openAt = new Map<string, number>()
  const reachedAfterMs = new Map<string, number>()
  const lookedFor = new Map<string, () => boolean>()
  let total = 0
  let current = 0

  const second = (): number => Math.min(seconds - 1, Math.floor(now() / 1_000))
  /** Seconds in which nothing changed are as the one before them. */
  const moveOn = (): void => {
    for (const until = second(); current < until;) {
      open[current++] = total
      fewestOpen[current] = total
    }
  }
  const change = (host: string, by: number): void => {
    moveOn()
    total += by
    openAt.set(host, (openAt.get(host) ?? 0) + by)
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
      count('accepted')
      change(host, 1)
    },
    closed(host) {
      change(host, -1)
    },
    lookOutFor(name, target, host) {
      const since = now()
      lookedFor.set(name, () => {
        if ((host === undefined ? total : (openAt.get(host) ?? 0)) < target) return false
        reachedAfterMs.set(name, now() - since)
        return true
      })
    },
    get record() {
      moveOn()
      open[current] = total
      return { counts, open, fewestOpen, reachedAfterMs }
    },
  }
}

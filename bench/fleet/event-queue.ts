/** The events of a simulation by whole milliseconds, like timers. Events of the same millisecond run in insertion order. */

/** An event that cannot be cancelled, and after which no promises run. */
export type PlainEvent = () => void

/** An event that can be cancelled, and after which promises may run. */
export interface Event {
  readonly act: () => void
  isCancelled: boolean
}

export interface EventQueue {
  /** Adds an event at `at`, rounded up, before 2 ** 31. Later events are never run. */
  add(at: number, event: Event | PlainEvent): void
  /** Removes the next event that is not cancelled, if it is not after `until`. */
  take(until: number): Event | PlainEvent | undefined
  /** The time of the last removed event. */
  readonly takenAt: number
}

/**
 * A heap of the milliseconds that have events, and a list of events for each: a retry storm has hundreds of events in one millisecond, and
 * a heap of all events would be several times as slow.
 */
export function createEventQueue(): EventQueue {
  const lists = new Map<number, (Event | PlainEvent)[]>()
  const times: number[] = []
  let list: (Event | PlainEvent)[] = []
  let next = 0
  let takenAt = 0
  return {
    get takenAt() {
      return takenAt
    },
    add(at, event) {
      if (at > LATEST) return
      // Map look-ups are faster for 32-bit integers.
      const time = Math.ceil(at) | 0
      const events = lists.get(time)
      if (events === undefined) {
        lists.set(time, [event])
        rise(times, time)
      } else events.push(event)
    },
    take(until) {
      for (;;) {
        const at = times[0]
        if (at === undefined || at > until) return undefined
        if (next === 0) list = lists.get(at) as (Event | PlainEvent)[]
        const event = list[next++]
        if (event === undefined) {
          next = 0
          lists.delete(at)
          removeFirst(times)
        } else if (typeof event === 'function' || !event.isCancelled) {
          takenAt = at
          return event
        }
      }
    },
  }
}

const LATEST = 2 ** 31 - 1

/** Adds to a binary heap. */
function rise(heap: number[], time: number): void {
  let place = heap.push(time) - 1
  while (place > 0) {
    const above = (place - 1) >> 1
    const parent = heap[above] as number
    if (time >= parent) break
    heap[place] = parent
    place = above
  }
  heap[place] = time
}

function removeFirst(heap: number[]): void {
  const time = heap.pop() as number
  if (heap.length === 0) return
  let place = 0
  for (;;) {
    let below = 2 * place + 1
    const left = heap[below]
    if (left === undefined) break
    const right = heap[below + 1]
    const earlier = right !== undefined && right < left ? right : left
    if (earlier === right) below++
    if (earlier >= time) break
    heap[place] = earlier
    place = below
  }
  heap[place] = time
}

/** The events of a simulation by whole milliseconds, as timers have them; those of the same one in the order in which they were added. */

export interface Event {
  readonly act: () => void
  /** Whether promises may go on after it. */
  readonly resumes: boolean
  isCancelled: boolean
}

export interface EventQueue {
  /** Adds an event at `at`, rounded up. */
  add(at: number, act: () => void, resumes: boolean): Event
  /** Takes the next event that is not cancelled, if it is not after `until`. */
  take(until: number): { at: number; event: Event } | undefined
}

/**
 * A heap of the milliseconds in which there are events, and a list of them for each: a retry storm has hundreds in one, and
 * a heap of all events would be ten times as slow.
 */
export function createEventQueue(): EventQueue {
  const lists = new Map<number, Event[]>()
  const times: number[] = []
  let list: Event[] = []
  let next = 0
  const taken = { at: 0, event: undefined as unknown as Event }
  return {
    add(at, act, resumes) {
      const event = { act, resumes, isCancelled: false }
      const time = Math.ceil(at)
      const events = lists.get(time)
      if (events === undefined) {
        lists.set(time, [event])
        rise(times, time)
      } else events.push(event)
      return event
    },
    take(until) {
      for (;;) {
        const at = times[0]
        if (at === undefined || at > until) return undefined
        if (next === 0) list = lists.get(at) as Event[]
        const event = list[next++]
        if (event === undefined) {
          next = 0
          lists.delete(at)
          removeFirst(times)
        } else if (!event.isCancelled) {
          taken.at = at
          taken.event = event
          return taken
        }
      }
    },
  }
}

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

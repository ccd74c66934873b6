/** A line in which one waits behind the other, and which everybody may leave at any time. */

export interface WaitingLine<T> {
  /** Puts `item` at the end. Returns the function that takes it out again, where it is still in the line. */
  join(item: T): () => void
  /** Takes out what has waited longest. */
  next(): T | undefined
}

/**
 * Creates a line in which every step costs the same, however many wait. A `Set` keeps the order, too, but to find its first item V8
 * passes the places of all that were deleted before it, until it makes the table anew: a thousand at a time for some thousands.
 */
export function createWaitingLine<T>(): WaitingLine<T> {
  const ends = placeOf<T>(undefined)
  return {
    join(item) {
      const place = placeOf(item)
      link(ends.before, place)
      link(place, ends)
      return () => takeOut(place)
    },
    next() {
      const first = ends.behind
      takeOut(first)
      return first.item
    },
  }
}

/** Of a ring: behind the last is the place that only marks both ends, and behind that the first. */
interface Place<T> {
  readonly item: T | undefined
  before: Place<T>
  behind: Place<T>
}

/** A place that is in no line is a ring of its own, from which it can be taken out as often as one likes. */
function placeOf<T>(item: T | undefined): Place<T> {
  const place = { item } as Place<T>
  link(place, place)
  return place
}

function takeOut<T>(place: Place<T>): void {
  link(place.before, place.behind)
  link(place, place)
}

function link<T>(before: Place<T>, behind: Place<T>): void {
  before.behind = behind
  behind.before = before
}

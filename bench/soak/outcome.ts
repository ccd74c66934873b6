/** What an application knows about something that it wrote under an identifier. */

export const Outcome = {
  /** The call has not ended. */
  open: 0,
  /** A single row was written. */
  written: 1,
  /** The statement of a single row failed; the server may have run it. */
  writeLost: 2,
  /** A transfer was committed. */
  confirmed: 3,
  /** A transfer may have been committed: `ERR_OUTCOME_UNKNOWN`. */
  unknown: 4,
  /** A transfer failed in any other way, so that it must not be there. */
  refused: 5,
} as const

export type Outcome = (typeof Outcome)[keyof typeof Outcome]

/** How many identifiers a pool has; those of all pools fit into an `int`. */
export const IDS_PER_POOL = 2 ** 27

export interface OutcomeLog {
  /** Returns an identifier that was not used before. */
  next(): number
  set(id: number, outcome: Outcome): void
  read(): Uint8Array
}

/** One byte an identifier, so that a long run does not look like a leak. */
export function createOutcomeLog(pool: number): OutcomeLog {
  const first = pool * IDS_PER_POOL
  let bytes = new Uint8Array(1_024)
  let used = 0
  return {
    next() {
      if (used === bytes.length) {
        const larger = new Uint8Array(2 * bytes.length)
        larger.set(bytes)
        bytes = larger
      }
      return first + used++
    },
    set: (id, outcome) => {
      bytes[id - first] = outcome
    },
    read: () => bytes.slice(0, used),
  }
}

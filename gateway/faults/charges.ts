/** Faults that are to happen a number of times. */

export interface Charges<Fault> {
  /** Arms a fault for the next `times` occasions. */
  add(fault: Fault, times: number): void
  /** Uses up one charge of the first armed fault, if any. */
  take(): Fault | undefined
  readonly isEmpty: boolean
  clear(): void
}

export function createCharges<Fault>(): Charges<Fault> {
  let armed: { fault: Fault; left: number }[] = []
  return {
    add: (fault, times) => void armed.push({ fault, left: times }),
    take: () => {
      const [first] = armed
      if (first === undefined) return undefined
      if (--first.left === 0) armed = armed.slice(1)
      return first.fault
    },
    get isEmpty() {
      return armed.length === 0
    },
    clear: () => {
      armed = []
    },
  }
}

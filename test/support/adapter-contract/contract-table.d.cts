export interface Assertion {
  ancestorTitles: string[]
  status: string
}

export type Cells = Map<string, Map<string, { passed: number; failed: number }>>

export interface Counts {
  engines: string[]
  byPromise: Cells
  byProvider: Cells
}

export function countContract(assertions: readonly Assertion[]): Counts
export function renderContract(counts: Counts): string

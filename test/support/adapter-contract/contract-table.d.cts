export interface Assertion {
  ancestorTitles: string[]
  status: string
}

export interface Counts {
  engines: string[]
  sections: string[]
  clients: Map<string, Map<string, { passed: number; failed: number }>>
}

export function countContract(assertions: readonly Assertion[]): Counts
export function renderContract(counts: Counts): string

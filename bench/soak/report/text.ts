/** The lines that the soak shows. */
import type { CallCounts } from '../messages.js'
import type { SoakOptions } from '../soak-options.js'
import type { Fault, FaultKind } from '../verdict/faults.js'

export function progressLine(seconds: number, counts: readonly CallCounts[]): string {
  const sum = (count: keyof CallCounts): string =>
    counts.reduce((total, one) => total + one[count], 0).toLocaleString('en-GB')
  return `${Math.round(seconds)} s: ${sum('queries')} queries, ${sum('confirmed')} transactions, ${sum('failed')} failed calls`
}

/** The last lines: what was wrong, if anything. */
export function verdictText(
  faults: readonly Fault[],
  { seed }: SoakOptions,
  tookSecs: number,
): string {
  const lines = KINDS.flatMap((kind) => {
    const texts = faults.filter((fault) => fault.kind === kind).map(({ text }) => text)
    const more = texts.length - SHOWN
    return [
      ...texts.slice(0, SHOWN).map((text) => `${kind}: ${text}`),
      ...(more > 0 ? [`${kind}: and ${more} more`] : []),
    ]
  })
  const run = `Seed ${seed}, ${Math.round(tookSecs)} s.`
  if (lines.length > 0) return [...lines, `${run} FAILED: ${faults.length} faults.`].join('\n')
  return `${run} No crash, no leak, no zombie; the ledger is in order, and every call failed of a trouble or not at all.`
}

const KINDS: readonly FaultKind[] = ['crash', 'leak', 'zombie', 'ledger', 'failure', 'idle']
const SHOWN = 10

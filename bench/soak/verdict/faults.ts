/** What must not happen in a soak. */
import type { ClientEnd } from '../client-process.js'
import type { ClientName } from '../clients.js'
import { excessOf } from './resources.js'

/** - `failure`: a call failed of something that is not among the troubles, or did not end;
 *  - `idle`: nothing was done, so that nothing was shown. */
export type FaultKind = 'crash' | 'leak' | 'zombie' | 'ledger' | 'failure' | 'idle'

export interface Fault {
  readonly kind: FaultKind
  readonly text: string
}

/** The faults that a client's process tells of, by its report or by the way it ended. */
export function clientFaults(name: ClientName, end: ClientEnd): Fault[] {
  const { report } = end
  const because = (kind: FaultKind, texts: readonly string[]): Fault[] =>
    texts.map((text) => ({ kind, text: `${name}: ${text}` }))
  const exit = exitFaults(end)
  if (report === undefined) return because('crash', [diedText(end)])
  const { calls, unexpected, crashes, warnings, leftBehind, resourcesBefore, resourcesAfter } =
    report
  return [
    ...because('crash', [...crashes, ...(end.exit === 'hangs' ? [] : exit)]),
    ...because('leak', [
      ...(end.exit === 'hangs' ? exit : []),
      ...warnings,
      ...excessOf(resourcesBefore, resourcesAfter).map((excess) => `${excess} still open`),
    ]),
    ...because('zombie', leftBehind),
    ...because(
      'zombie',
      calls.lateDone === 0 ? [] : [`${calls.lateDone} statements of dead transactions were run`],
    ),
    ...because(
      'failure',
      Object.entries(unexpected).map(
        ([cause, first]) => `${report.failures[cause]} calls failed of ${cause}: ${first}`,
      ),
    ),
    ...because('failure', calls.hanging === 0 ? [] : [`${calls.hanging} calls did not end`]),
    ...because('idle', calls.confirmed === 0 ? ['it confirmed no transaction'] : []),
  ]
}

function diedText({ exit, lastWords }: ClientEnd): string {
  const died = exit === 0 ? 'its process told nothing' : `its process ended with ${exit}`
  return lastWords === '' ? died : `${died}: ${lastWords}`
}

function exitFaults({ exit }: ClientEnd): string[] {
  if (exit === 0) return []
  return [exit === 'hangs' ? 'its process did not end' : `its process ended with ${exit}`]
}

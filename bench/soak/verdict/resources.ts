/** Compares what a process held on to before and after. */
import type { Resources } from '../messages.js'

/** The kinds of which there are more than before. */
export function excessOf(before: Resources, after: Resources): string[] {
  return Object.entries(after)
    .filter(([kind, count]) => kind !== ASKING && count > (before[kind] ?? 0))
    .map(([kind, count]) => `${count} ${kind} (${before[kind] ?? 0} before)`)
}

/** Timers come and go: whoever asks has one, too. One that keeps a process alive is seen in that it does not end. */
const ASKING = 'Timeout'

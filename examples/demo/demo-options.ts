/** The command line of the demo. */
import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** How long the clients work, in seconds. */
  readonly seconds: number
}

const DEFAULT_SECONDS = 20
const LONGEST_SECONDS = 50

export const USAGE = `usage: npm start -- [--seconds N]

  --seconds N  for how long the clients work, from 1 to ${LONGEST_SECONDS}; ${DEFAULT_SECONDS} by default`

/** Returns `undefined` for an invalid command line. */
export function demoOptions(words: readonly string[]): DemoOptions | undefined {
  try {
    const { values } = parseArgs({ args: [...words], options: { seconds: { type: 'string' } } })
    const seconds = values.seconds === undefined ? DEFAULT_SECONDS : Number(values.seconds)
    return seconds >= 1 && seconds <= LONGEST_SECONDS ? { seconds } : undefined
  } catch {
    return undefined
  }
}

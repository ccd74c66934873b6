/** The command line of the benchmarks. */
import { parseArgs } from 'node:util'
import { seedOf, wrongOption } from '../common/command-line.js'

export interface BenchOptions {
  /** Which benchmarks are to run, in this order. */
  readonly names: readonly string[]
  readonly isQuick: boolean
  readonly seed: number
  /** Where the results go as JSON, if anywhere. */
  readonly json: string | undefined
  /** The folder that charts go to, if any. */
  readonly svg: string | undefined
}

export const USAGE_OF_OPTIONS = `  --quick      seconds instead of minutes: shows that it works, and gives figures that are worth nothing
  --seed N     what the order of the competitors follows from, a whole number from 0; 1 by default
  --json FILE  writes the results to a file, too
  --svg DIR    draws them as charts, one file each`

/** @throws Error for a command line that it does not understand, with what is wrong about it */
export function benchOptions(words: readonly string[], known: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      json: { type: 'string' },
      svg: { type: 'string' },
    },
  })
  const unknown = positionals.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new Error(`there is no benchmark "${unknown}", only ${known.join(', ')}`)
  if (values.json === '') throw wrongOption('json', 'the name of a file', values.json)
  if (values.svg === '') throw wrongOption('svg', 'the name of a folder', values.svg)
  return {
    names: positionals.length === 0 ? known : known.filter((name) => positionals.includes(name)),
    isQuick: values.quick,
    seed: seedOf(values.seed),
    json: values.json,
    svg: values.svg,
  }
}

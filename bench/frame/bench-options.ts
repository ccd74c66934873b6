/** The command line of the benchmarks. */
import { parseArgs } from 'node:util'
import { seedOf, wrongOption } from '../common/command-line.js'

export interface BenchOptions {
  /** Which benchmarks are to run, in this order. */
  readonly names: readonly string[]
  /** Whether the command line names them; else they are all that there are. */
  readonly areNamed: boolean
  readonly isQuick: boolean
  readonly seed: number
  /** Where the results go as JSON, if anywhere. */
  readonly json: string | undefined
  /** The folder that charts go to, if any. */
  readonly svg: string | undefined
  /** The folder that the page with all figures goes to, if any. */
  readonly docs: string | undefined
  /** Earlier results that the page is made of; then nothing is measured. */
  readonly from: readonly string[]
}

export const USAGE_OF_OPTIONS = `  --quick      seconds instead of minutes: shows that it works, and gives figures that are worth nothing
  --seed N     what the order of the competitors follows from, a whole number from 0; 1 by default
  --json FILE  writes the results to a file, too
  --svg DIR    draws them as charts, one file each
  --docs DIR   writes the page performance.md with all figures, goals and charts
  --from FILE  makes that page of results that --json has written; several times for several files: the latest of each counts`

/** @throws Error for a command line that it does not understand, with what is wrong about it */
export function benchOptions(words: readonly string[], known: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      seed: { type: 'string' },
      json: { type: 'string' },
      svg: { type: 'string' },
      docs: { type: 'string' },
      from: { type: 'string', multiple: true },
    },
  })
  const unknown = positionals.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new Error(`there is no benchmark "${unknown}", only ${known.join(', ')}`)
  if (values.json === '') throw wrongOption('json', 'the name of a file', values.json)
  if (values.svg === '') throw wrongOption('svg', 'the name of a folder', values.svg)
  if (values.docs === '') throw wrongOption('docs', 'the name of a folder', values.docs)
  if (values.docs !== undefined && values.quick)
    throw new Error('"--docs" is a page of figures, and those of "--quick" are worth nothing')
  const { from = [] } = values
  if (from.length > 0) {
    if (values.docs === undefined) throw new Error('"--from" needs "--docs DIR"')
    const { quick, seed, json, svg } = values
    if (positionals.length > 0 || quick || [seed, json, svg].some((one) => one !== undefined))
      throw new Error('"--from" measures nothing: beside it there is "--docs" only')
  }
  return {
    names: positionals.length === 0 ? known : known.filter((name) => positionals.includes(name)),
    areNamed: positionals.length > 0,
    isQuick: values.quick,
    seed: seedOf(values.seed ?? '1'),
    json: values.json,
    svg: values.svg,
    docs: values.docs,
    from,
  }
}

/**
 * `npm run soak -- --minutes N`: all clients under load, while tokens, sessions and backends end continuously.
 *
 * Exit codes: 0 without faults, 1 otherwise, 2 for an invalid command line, 130 after Ctrl-C.
 */
import { writeFile } from 'node:fs/promises'
import { terminalTable } from '../../bench/report.js'
import { USAGE, soakOptions, type SoakOptions } from './options.js'
import {
  clientTable,
  failureTable,
  progressLine,
  resultJson,
  troubleTable,
  verdictText,
} from './report.js'
import { runSoak } from './run-soak.js'

const EXIT_INTERRUPTED = 130

async function main(words: readonly string[]): Promise<number> {
  let options: SoakOptions
  try {
    options = soakOptions(words)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}\n`)
    return 2
  }
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const progress = (...counts: Parameters<typeof progressLine>): void =>
    void process.stderr.write(`${progressLine(...counts)}\n`)
  const result = await runSoak(options, progress, stop.signal)
  process.off('SIGINT', onSignal).off('SIGTERM', onSignal)

  for (const table of [clientTable(result), failureTable(result), troubleTable(result)])
    process.stdout.write(`${terminalTable(table)}\n`)
  process.stdout.write(`${verdictText(result.faults, options, result.tookSecs)}\n`)
  if (options.json !== undefined) await writeFile(options.json, resultJson(options, result))
  if (result.faults.length > 0) return 1
  return stop.signal.aborted ? EXIT_INTERRUPTED : 0
}

process.exitCode = await main(process.argv.slice(2))

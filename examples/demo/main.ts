/**
 * `npm start`: demonstrates pg-iam on this machine.
 *
 * Exit codes: 0 if no query failed and every bad token was refused, 1 otherwise, 2 for an invalid command line, 130 after
 * Ctrl-C.
 */
import { isPgIamError } from 'pg-iam'
import { USAGE, demoOptions } from './demo-options.js'
import { runDemo } from './demo.js'
import { createScreen } from './screen.js'

const EXIT_INTERRUPTED = 130

async function main(words: readonly string[]): Promise<number> {
  const options = demoOptions(words)
  if (options === undefined) {
    process.stderr.write(`${USAGE}\n`)
    return 2
  }
  const screen = createScreen(process.stdout, process.env)
  const stop = new AbortController()
  const onSignal = (): void => {
    if (stop.signal.aborted) {
      screen.close()
      process.exit(EXIT_INTERRUPTED)
    }
    stop.abort()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  // The reader of the output may have exited, like `head`.
  process.stdout.on('error', () => stop.abort())
  try {
    const isSuccess = await runDemo(options, screen, stop.signal)
    if (!isSuccess) return 1
    return stop.signal.aborted ? EXIT_INTERRUPTED : 0
  } catch (error) {
    const hint = isPgIamError(error) && error.hint !== undefined ? `\n${error.hint}` : ''
    process.stderr.write(`${String(error)}${hint}\n`)
    return 1
  } finally {
    screen.close()
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

process.exitCode = await main(process.argv.slice(2))

/**
 * `npm start`: pg-iam at work, on this machine alone.
 *
 * Exit codes: 0 when no query failed and every bad token was refused, 1 otherwise, 2 for a command line that it does not
 * understand, 130 after Ctrl-C.
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
  // Whoever read our output may have left, as `head` does.
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

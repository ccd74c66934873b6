#!/usr/bin/env node
/** The command `pg-iam`. */
import { runCommand } from './program.js'

// What reads the output may close it early, as `head` does.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })

process.exitCode = await runCommand({
  args: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal(name, act) {
    process.on(name, act)
    return () => void process.off(name, act)
  },
})
// Nothing may keep a finished command: an SDK may have left a connection open. Its output is written first.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))

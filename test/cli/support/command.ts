/** Runs the built command as a child process. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const MAIN = join(process.cwd(), 'dist/cli/main.js')

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** The file to run. Default: that of the build. */
  readonly main?: string
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  readonly output: { readonly stdout: string; readonly stderr: string }
  /** Resolves with the match as soon as stdout, or stderr, has it. Rejects if the command ends before. */
  printed(pattern: RegExp, stream?: 'stdout' | 'stderr'): Promise<RegExpExecArray>
  readonly ended: Promise<Ended>
  /** Sends SIGTERM, and waits for the end. */
  stop(): Promise<Ended>
}

/** Of the environment of the tests only what programs need. */
export function startCommand(
  args: readonly string[],
  { env = {}, cwd = process.cwd(), main = MAIN }: RunOptions = {},
): Running {
  const { PATH, HOME, TMPDIR = '/tmp' } = process.env
  const child = spawn(process.execPath, [main, ...args], {
    cwd,
    env: { PATH, HOME, TMPDIR, AWS_EC2_METADATA_DISABLED: 'true', ...env },
  })
  const output = { stdout: '', stderr: '' }
  const wakers = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      output[name] += chunk
      for (const wake of wakers) wake()
    })
  let hasEnded = false
  const ended = once(child, 'close').then(([code]): Ended => {
    hasEnded = true
    for (const wake of wakers) wake()
    return { code: code as number | null, ...output }
  })
  return {
    child,
    output,
    ended,
    async printed(pattern, stream = 'stdout') {
      for (;;) {
        const found = pattern.exec(output[stream])
        if (found !== null) return found
        if (hasEnded)
          throw new Error(`it ended without ${String(pattern)}: ${output.stdout}${output.stderr}`)
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            wakers.delete(wake)
            resolve()
          }
          wakers.add(wake)
        })
      }
    },
    async stop() {
      child.kill('SIGTERM')
      return ended
    },
  }
}

/** Runs the command to its end. */
export function runCommand(args: readonly string[], options?: RunOptions): Promise<Ended> {
  const running = startCommand(args, options)
  running.child.stdin.end()
  return running.ended
}

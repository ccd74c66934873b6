/** Runs a built program of examples/ in a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface ProgramResult {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly environment?: NodeJS.ProcessEnv
  /** Sent when the program has written its first line. */
  readonly signalAfterFirstLine?: NodeJS.Signals
}

/** @param program a path below build/examples, which `npm test` builds first */
export async function runProgram(
  program: string,
  parameters: readonly string[] = [],
  { environment = {}, signalAfterFirstLine }: RunOptions = {},
): Promise<ProgramResult> {
  const file = join(process.cwd(), 'build', 'examples', program)
  const child = spawn(process.execPath, [file, ...parameters], {
    env: { ...cloudlessEnvironment(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (signalAfterFirstLine !== undefined && stdout === '') child.kill(signalAfterFirstLine)
    stdout += chunk
  })
  await once(child, 'close')
  return { exitCode: child.exitCode, stdout, stderr }
}

/** Whatever this machine has to say about clusters and credentials must not lead the program anywhere. */
function cloudlessEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:PG|AWS_)/.test(name))
  return Object.fromEntries(kept)
}

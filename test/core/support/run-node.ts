/** Runs a script in a separate Node process, for behaviour that depends on how a process is started. */
import { execFile } from 'node:child_process'

export interface NodeRun {
  /** The output of the script, parsed as JSON. */
  result: unknown
  stderr: string
}

/**
 * Runs `lines`, a script that prints one JSON value: a CommonJS script, or a module if it contains `import` or `await`. Of this process's
 * environment only the variables for finding programs and folders are passed on.
 */
export function runNode(
  lines: string,
  { cwd = process.cwd(), env = {} }: { cwd?: string; env?: Record<string, string> } = {},
): Promise<NodeRun> {
  const type = /^\s*(import|.*\bawait) /m.test(lines) ? 'module' : 'commonjs'
  const { PATH = '', HOME = '', TMPDIR = '/tmp' } = process.env
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [`--input-type=${type}`, '--eval', lines],
      {
        cwd,
        env: { PATH, HOME, TMPDIR, AWS_EC2_METADATA_DISABLED: 'true', ...env },
        timeout: 50_000,
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ result: JSON.parse(stdout) as unknown, stderr })
        else reject(new Error(`the process failed: ${stderr}`, { cause: error }))
      },
    )
  })
}

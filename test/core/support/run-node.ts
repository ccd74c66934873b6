/** Runs a few lines in a Node process of their own, for what depends on how a process is started. */
import { execFile } from 'node:child_process'

export interface NodeRun {
  /** What the lines printed, as JSON. */
  result: unknown
  stderr: string
}

/**
 * Runs `lines`, which print one JSON value. They are a CommonJS script, or a module where they hold an `import` or `await`.
 * Nothing of this process's environment is passed on but what finds programs and folders.
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

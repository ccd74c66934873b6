/** On what the benchmark ran. */
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'

/** @param root the folder of this repository */
export async function describeMachine(root: string): Promise<string> {
  const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as {
    version: string
  }
  const processors = cpus()
  const model = processors[0]?.model.trim() ?? 'unknown'
  return `pg-iam ${version}, Node ${process.versions.node}, ${process.platform} ${process.arch}, ${processors.length} × ${model}`
}

/** On what a benchmark ran. */
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'

export interface Machine {
  readonly pgIam: string
  readonly node: string
  readonly openssl: string
  readonly platform: string
  readonly processors: number
  readonly processorModel: string
}

/** @param root the folder of this repository */
export async function readMachine(root: string): Promise<Machine> {
  const processors = cpus()
  return {
    pgIam: await versionIn(root),
    node: process.versions.node,
    openssl: process.versions.openssl,
    platform: `${process.platform} ${process.arch}`,
    processors: processors.length,
    processorModel: processors[0]?.model.trim() ?? 'unknown',
  }
}

/** @param root the folder of this repository */
export async function describeMachine(root: string): Promise<string> {
  const { pgIam, node, platform, processors, processorModel } = await readMachine(root)
  return `pg-iam ${pgIam}, Node ${node}, ${platform}, ${processors} × ${processorModel}`
}

/** The versions of installed packages, by their names. */
export async function packageVersions(
  root: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const versions: Record<string, string> = {}
  for (const name of names) versions[name] = await versionIn(join(root, 'node_modules', name))
  return versions
}

async function versionIn(folder: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as {
    version: string
  }
  return version
}
